// Keeps the administrator's figures current; waits while a reason is being written.
const fresh = async () => {
  if ([...document.querySelectorAll("[data-live] input")].some((input) => input.type !== "hidden" && (input.value || input === document.activeElement))) return;
  const reply = await fetch(location.pathname, { cache: "no-store" }).catch(() => null);
  if (!reply || !reply.ok) return;
  const next = new DOMParser().parseFromString(await reply.text(), "text/html");
  const parts = [...next.querySelectorAll("[data-live]")];
  for (const [number, part] of [...document.querySelectorAll("[data-live]")].entries()) {
    if (parts[number] && !part.contains(document.activeElement)) part.innerHTML = parts[number].innerHTML;
  }
};
setInterval(fresh, Number(document.querySelector("script[data-seconds]").dataset.seconds) * 1000);
