// Tips at once instead of after a second, and everything of the stream under the pointer brought out.
const picture = document.querySelector("svg.sk"), tip = document.getElementById("tip");
for (const title of picture.querySelectorAll(":not(svg) > title")) {
  title.parentNode.dataset.tip = title.textContent;
  title.parentNode.setAttribute("aria-label", title.textContent);
  title.remove();
}
let marked = [];
picture.addEventListener("pointermove", (event) => {
  const text = event.target.dataset?.tip, stream = event.target.dataset?.s;
  tip.hidden = !text;
  if (text) {
    tip.textContent = text;
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
  }
  for (const element of marked) element.classList.remove("on");
  marked = stream === undefined ? [] : [...picture.querySelectorAll(`[data-s="${stream}"]`)];
  for (const element of marked) element.classList.add("on");
  picture.classList.toggle("focus", marked.length > 0);
});
picture.addEventListener("pointerleave", () => { tip.hidden = true; picture.classList.remove("focus"); });
