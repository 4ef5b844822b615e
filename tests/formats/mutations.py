"""Bodies as they arrive when something went wrong on the way."""

from __future__ import annotations

from hypothesis import strategies as st


def mutated(bodies: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the bodies: cut, doubled, its lines or parts shuffled, bytes changed, or in another encoding."""
    return st.sampled_from(bodies).flatmap(_mutated)


def _mutated(body: bytes) -> st.SearchStrategy[bytes]:
    places = st.integers(0, len(body))
    return st.one_of(
        places.map(lambda end: body[:end]),
        places.map(lambda start: body[start:]),
        st.just(body + body),
        st.just(body + b"\n" + body),
        st.permutations(body.splitlines(keepends=True)[:200]).map(b"".join),
        st.permutations(body.split(b",")[:200]).map(b",".join),
        st.tuples(places, st.binary(max_size=20)).map(lambda at: body[: at[0]] + at[1] + body[at[0] + len(at[1]) :]),
        st.tuples(places, places).map(lambda cut: body[: min(cut)] + body[max(cut) :]),
        st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "cp037"]).map(lambda coding: _recoded(body, coding)),
    )


def _recoded(body: bytes, coding: str) -> bytes:
    return body.decode("latin-1").encode(coding, "replace")
