"use strict";
// Tables sort by their headings and filter as one types; figures tell the value of a point.
// Without this script tables show, and browsers show the values by themselves.
(function () {
  var FACTORS = {
    k: 1e3, M: 1e6, G: 1e9, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86400, days: 86400, day: 86400,
    B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12
  };
  function value(cell) {
    var text = cell.textContent.trim();
    if (text === "∞") return Infinity;
    var found = /^[<>≤≥]?\s*([-+−]?[\d.]+(?:e[-+]?\d+)?)\s?([A-Za-z]*)/.exec(text);
    if (!found) return text === "–" || text === "" ? null : text.toLowerCase();
    return parseFloat(found[1].replace("−", "-")) * (FACTORS[found[2]] || 1);
  }
  function compare(a, b) {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  }
  function sort(table, column, heading) {
    var down = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    var rows = Array.from(table.tBodies[0].rows).map(function (row) {
      return [value(row.cells[column]), row];
    });
    rows.sort(function (one, two) {
      if (one[0] === null || two[0] === null) return (one[0] === null) - (two[0] === null);
      return (down ? -1 : 1) * compare(one[0], two[0]);
    });
    rows.forEach(function (pair) { table.tBodies[0].appendChild(pair[1]); });
  }
  function filter(table) {
    var box = document.createElement("input");
    box.type = "search";
    box.className = "filter";
    box.placeholder = "filter rows";
    box.setAttribute("aria-label", "filter rows of " + table.parentNode.getAttribute("aria-label"));
    box.addEventListener("input", function () {
      var words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      Array.from(table.tBodies[0].rows).forEach(function (row) {
        var text = Array.from(row.cells, function (cell) { return cell.textContent; });
        text = text.join(" ").toLowerCase();
        row.hidden = !words.every(function (word) { return text.includes(word); });
      });
    });
    table.parentNode.before(box);
  }
  document.querySelectorAll("table.data").forEach(function (table) {
    if (table.tBodies[0].rows.length < 2) return;
    Array.from(table.tHead.rows[0].cells).forEach(function (heading, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", function () { sort(table, column, heading); });
    });
    if (table.tBodies[0].rows.length >= 8) filter(table);
  });

  var tooltip = document.createElement("div");
  tooltip.className = "tooltip";
  tooltip.hidden = true;
  tooltip.setAttribute("aria-hidden", "true"); // a value is a label of its mark already
  document.body.append(tooltip);
  var shown = null;
  function hide() {
    if (shown) shown.classList.remove("on");
    shown = null;
    tooltip.hidden = true;
  }
  function show(mark) {
    if (mark === shown) return;
    hide();
    shown = mark;
    mark.classList.add("on");
    tooltip.textContent = mark.getAttribute("aria-label");
    tooltip.hidden = false;
    place(mark);
  }
  function place(mark) {
    var box = mark.getBoundingClientRect();
    var above = box.top - tooltip.offsetHeight - 6;
    var left = box.left + box.width / 2 - tooltip.offsetWidth / 2;
    var most = document.documentElement.clientWidth - tooltip.offsetWidth - 4;
    tooltip.style.left = Math.max(4, Math.min(left, most)) + "px";
    tooltip.style.top = (above > 4 ? above : box.bottom + 6) + "px";
  }
  var REACH = 16; // pixels that a pointer may be away from a point
  function nearest(svg, marks, event) {
    var turn = svg.getScreenCTM().inverse();
    var at = new DOMPoint(event.clientX, event.clientY).matrixTransform(turn);
    var best = null, least = REACH * turn.a;
    marks.forEach(function (mark) {
      var d = mark.dataset, across = at.x - d.x, down = at.y - d.y;
      var dx = Math.max(-across, across - d.w, 0), dy = Math.max(-down, down - d.h, 0);
      var distance = Math.hypot(dx, dy);
      if (distance < least) { least = distance; best = mark; }
    });
    return best;
  }
  document.querySelectorAll(".plot svg").forEach(function (svg) {
    var marks = Array.from(svg.querySelectorAll(".value"));
    if (!marks.length) return;
    marks.forEach(function (mark, place) {
      var title = mark.querySelector("title");
      mark.setAttribute("aria-label", title.textContent);
      mark.setAttribute("role", "img");
      mark.setAttribute("tabindex", place ? "-1" : "0"); // one stop per figure, then the arrows
      title.remove();
      mark.addEventListener("focus", function () { show(mark); });
      mark.addEventListener("blur", hide);
      mark.addEventListener("keydown", function (event) {
        var steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
        var next = event.key === "Home" ? 0 : event.key === "End" ? marks.length - 1 : null;
        if (event.key in steps) next = place + steps[event.key];
        if (event.key === "Escape") hide();
        if (next === null || !marks[next]) return;
        event.preventDefault();
        mark.setAttribute("tabindex", "-1");
        marks[next].setAttribute("tabindex", "0");
        marks[next].focus();
      });
    });
    function follow(event) {
      var mark = nearest(svg, marks, event);
      if (mark) show(mark); else hide();
    }
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("pointerdown", follow);
    svg.addEventListener("pointerleave", function (event) {
      if (event.pointerType === "mouse") hide();
    });
  });
  // Moving on by keyboard may scroll: that value stays, while a pointer's is no longer below it.
  function scrolled() {
    if (shown && shown === document.activeElement) place(shown); else hide();
  }
  window.addEventListener("scroll", scrolled, { passive: true, capture: true });
  document.addEventListener("pointerdown", function (event) {
    if (!event.target.closest(".plot svg")) hide();
  });
})();
