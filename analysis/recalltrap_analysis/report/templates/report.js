"use strict";
// Tables sort by a click on a heading and filter as one types; without this script they only show.
(function () {
  var FACTORS = { k: 1e3, M: 1e6, G: 1e9 };
  function value(cell) {
    var text = cell.textContent.trim();
    if (text === "∞") return Infinity;
    var found = /^([-+−]?[\d.]+(?:e[-+]?\d+)?)([kMG]?)/.exec(text);
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
    if (table.tBodies[0].rows.length < 3) return;
    Array.from(table.tHead.rows[0].cells).forEach(function (heading, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", function () { sort(table, column, heading); });
    });
    if (table.tBodies[0].rows.length >= 8) filter(table);
  });
})();
