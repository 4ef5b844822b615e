/**
 * Light or dark: what the reader has chosen in this browser, else what the system says. This is no module: it runs before
 * the page is painted, so that none flashes in the wrong colours. A page is printed in the light ones.
 */
{
  const KEPT = "outputd-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  const chosen = () => {
    try {
      return localStorage.getItem(KEPT) ?? "auto";
    } catch (error) {
      return "auto"; // a browser may keep nothing
    }
  };

  const keep = (theme) => {
    try {
      localStorage.setItem(KEPT, theme);
    } catch (error) {
      // then it holds for this page
    }
  };

  /** Show a theme, and say so to what draws on a canvas: by `theme` on the document. */
  const show = (theme) => {
    const isDark = theme === "dark" || (theme !== "light" && system.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    document.dispatchEvent(new Event("theme"));
  };

  const again = () => show(document.getElementById("theme")?.value ?? chosen());

  show(chosen());
  system.addEventListener("change", again);
  addEventListener("beforeprint", () => show("light"));
  addEventListener("afterprint", again);
  addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    if (!choice) return; // a page that says why there is none
    choice.value = chosen();
    if (!choice.value) choice.value = "auto";
    choice.addEventListener("change", () => {
      keep(choice.value);
      again();
    });
    addEventListener("storage", ({ key }) => {
      if (key !== KEPT) return;
      choice.value = chosen();
      again();
    });
  });
}
