// Searches INDEX (index.js), whose entries are name, URL, summary and Python's name, and opens the menu on narrow
// screens.
"use strict";

const input = document.querySelector(".search input");
const results = document.querySelector(".results");
const MAX_RESULTS = 12;

// The score of an entry, 0 if it does not match. A name that begins with a word scores higher than one that contains
// it, and a match in the name scores higher than one in the other fields.
function score([name, , summary, python], words) {
    let sum = 0;
    for (const word of words) {
        const at = name.toLowerCase().indexOf(word);
        const begins = at === 0 || (at > 0 && /[_:.]/.test(name[at - 1]));
        const points = at >= 0 ? (begins ? 40 : 20) + (name.length === at + word.length ? 10 : 0)
            : python.toLowerCase().includes(word) ? 15
            : summary.toLowerCase().includes(word) ? 5 : 0;
        if (points === 0) {
            return 0;
        }
        sum += points;
    }
    return sum - name.length / 100;
}

function row([name, address, summary, python]) {
    const item = document.createElement("li");
    const link = item.appendChild(document.createElement("a"));
    link.href = address;
    link.appendChild(document.createElement("code")).textContent = name;
    link.appendChild(document.createElement("span")).textContent = summary + (python ? " Python: " + python : "");
    return item;
}

function show() {
    const words = input.value.toLowerCase().split(/[\s()]+/).filter(Boolean);
    const found = INDEX.map(entry => [score(entry, words), entry]).filter(([points]) => words.length && points > 0);
    found.sort(([a], [b]) => b - a);
    results.replaceChildren(...found.slice(0, MAX_RESULTS).map(([, entry]) => row(entry)));
    if (words.length && !found.length) {
        results.appendChild(document.createElement("li")).textContent = "nothing found";
    }
    results.hidden = !words.length;
    select(0);
}

function select(to) {
    const links = [...results.querySelectorAll("a")];
    links.forEach((link, at) => link.classList.toggle("selected", at === to));
    links[to]?.scrollIntoView({ block: "nearest" });
}

input.addEventListener("input", show);
input.addEventListener("focus", show);
input.addEventListener("keydown", event => {
    const links = [...results.querySelectorAll("a")];
    const at = links.findIndex(link => link.classList.contains("selected"));
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        select((at + (event.key === "ArrowDown" ? 1 : links.length - 1)) % Math.max(links.length, 1));
    } else if (event.key === "Enter" && links[at]) {
        results.hidden = true;
        location.href = links[at].href;
    } else if (event.key === "Escape") {
        input.blur();
        results.hidden = true;
    }
});
document.addEventListener("keydown", event => {
    if (event.key === "/" && document.activeElement !== input && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        input.select();
    }
});
document.addEventListener("click", event => {
    if (!event.target.closest(".search") || event.target.closest(".results a")) {
        results.hidden = true;
    }
});

const menu = document.querySelector(".menu");
menu.addEventListener("click", () => {
    menu.setAttribute("aria-expanded", String(document.body.classList.toggle("menu-open")));
});
// A query in the URL, such as index.html?q=join, starts a search.
const query = new URLSearchParams(location.search).get("q");
if (query) {
    input.value = query;
    show();
}
