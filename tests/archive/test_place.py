"""What `outputd.archive.place`, `names` and `credentials` promise."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.archive.credentials import credentials_of
from outputd.archive.names import REJECTED, RESULTS, Name, is_instance, name_of
from outputd.archive.place import Place, place_of
from outputd.process.trouble import Unusable

_SECRET = "wJalrXUtnFEMI"


class PlaceTests(SynchronousTestCase):
    def test_a_url_says_where_an_archive_is(self) -> None:
        for url, place in (
            ("s3://bucket", Place("s3", "bucket", "")),
            ("s3://bucket/a/b/", Place("s3", "bucket", "a/b")),
            (
                "s3://bucket/a?endpoint=http://127.0.0.1:8333&region=eu-central-1",
                Place("s3", "bucket", "a", {"endpoint": "http://127.0.0.1:8333", "region": "eu-central-1"}),
            ),
            ("gs://bucket/a", Place("gs", "bucket", "a")),
            ("az://container/a?account=ours", Place("az", "container", "a", {"account": "ours"})),
            ("file:///srv/an%20archive/", Place("file", "", "/srv/an archive")),
        ):
            self.assertEqual(place, place_of(url))
            self.assertEqual(place, place_of(place.shown))

    def test_a_url_that_may_have_a_secret_or_is_none_is_refused_without_repeating_it(self) -> None:
        for url in (
            f"s3://AKIA:{_SECRET}@bucket/a",
            f"s3://bucket/a?secret_access_key={_SECRET}",
            f"s3://bucket/a?endpoint=https://AKIA:{_SECRET}@minio/",
            f"s3://bucket/a?endpoint=https://minio/%3Fkey={_SECRET}",
            f"s3://bucket/a?region=eu&region={_SECRET}",
            f"s3://bucket/a?{_SECRET}",
            f"s3://bucket/a#{_SECRET}",
            f"az://container/a?sv=2024&sig={_SECRET}",
            f"gs://bucket/a?endpoint={_SECRET}",
            f"https://bucket.example.net/a?X-Amz-Signature={_SECRET}",
        ):
            refusal = self.assertRaises(Unusable, place_of, url)
            self.assertNotIn(_SECRET, str(refusal))
        for url in (
            "", "s3:", "s3://", "s3:///a", "s3://bucket:99999/a", "s3://bucket/a//b", "s3://bucket/../b",
            "s3://bucket/a b",
            "s3://bucket/ä", "file://host/a", "file:relative", "file:///a/../b", "/srv/archive", "file:///a?b=c",
            "s3://bucket?region=", "s3://bucket?endpoint=minio:9000", "file:///a%00b", "s3://[bucket/a",
        ):  # fmt: skip
            self.assertRaises(Unusable, place_of, url)


class NameTests(SynchronousTestCase):
    def test_a_name_says_what_is_in_an_object(self) -> None:
        for name in (
            Name(1, 20, "2026-11-30", RESULTS, "tokyo_1.ab12"),
            Name(9, 2**63 - 1, "0001-01-01", REJECTED, "a"),
        ):
            self.assertEqual(name, name_of(str(name)))
        self.assertEqual(
            "results/date=2026-11-30/tokyo-0000000000000000001-0000000000000000020.parquet",
            str(Name(1, 20, "2026-11-30", RESULTS, "tokyo")),
        )

    def test_what_others_put_there_is_no_name_of_ours(self) -> None:
        for path in (
            "results/date=2026-11-30/compacted.parquet",
            "results/_SUCCESS",
            "results/date=2026-11-30/a-1-2.parquet",
        ):
            self.assertIsNone(name_of(path))

    def test_the_name_of_an_instance_ends_where_the_numbers_begin(self) -> None:
        self.assertTrue(all(is_instance(name) for name in ("tokyo", "a.b_c", "x" * 97, "7")))
        none = ("", "to-kyo", ".hidden", "_hidden", "x" * 98, "a/b", "ü", "a b", "a\n")
        self.assertFalse(any(is_instance(name) for name in none))


class CredentialsTests(SynchronousTestCase):
    def file(self, text: str | bytes) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_a_file_has_a_key_and_its_value_in_a_line(self) -> None:
        path = self.file(f'# of the archive\n\nAWS_ACCESS_KEY_ID=AKIA\r\n AWS_SECRET_ACCESS_KEY="{_SECRET}="\n')
        expected = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": f"{_SECRET}="}
        self.assertEqual(expected, credentials_of(path))
        link = Path(self.mktemp())
        link.symlink_to(path.absolute())
        self.assertEqual(expected, credentials_of(link))

    def test_a_file_that_says_something_else_is_refused_without_repeating_it(self) -> None:
        for text in (
            "", "# nothing\n", _SECRET, f"{_SECRET}=1", f"LD_PRELOAD={_SECRET}", f"export AWS_X={_SECRET}",
            f"AWS_SECRET_ACCESS_KEY={_SECRET}\x07", b"\xff\xfe", "AWS_A=b\n" * 10_000,
        ):  # fmt: skip
            refusal = self.assertRaises(Unusable, credentials_of, self.file(text))
            self.assertNotIn(_SECRET, str(refusal))
        self.assertRaises(Unusable, credentials_of, Path("nowhere"))
        self.assertRaises(Unusable, credentials_of, Path("/dev"))
