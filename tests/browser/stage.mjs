// What every walk has: a real Chromium, and an eye on everything that must not happen meanwhile.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = 30_000;

export const base = process.env.CONSOLE;
export const facts = JSON.parse(process.env.FACTS ?? "{}");

// Whoever started the walk does what it asks for, and says when it is done.
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const please = async (what) => {
  process.stdout.write(`please ${what}\n`);
  const { value } = await lines.next();
  assert.equal(value, "done", `${what}: ${value}`);
};

export class Stage {
  static async open() {
    const root = process.getuid?.() === 0;
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, chromiumSandbox: !root });
    return new Stage(browser);
  }

  constructor(browser) {
    this.browser = browser;
    this.wrong = [];
    this.findings = [];
  }

  // A page of a new visitor.
  async visitor({ width = 1440, height = 900, dark = false, script = true } = {}) {
    const context = await this.browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? "dark" : "light",
      javaScriptEnabled: script,
      reducedMotion: "reduce",
    });
    context.setDefaultTimeout(PATIENCE);
    await context.exposeBinding("violated", (_, what) => this.wrong.push(`policy: ${what}`));
    if (script) {
      await context.addInitScript(() => {
        document.addEventListener("securitypolicyviolation", (event) => {
          window.violated(`${event.violatedDirective} ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`);
        });
      });
    }
    context.on("request", (request) => {
      const url = new URL(request.url());
      if (url.origin !== base && url.protocol !== "data:") this.wrong.push(`left for ${request.url()}`);
    });
    const page = await context.newPage();
    page.on("pageerror", (error) => this.wrong.push(`script: ${error.message}`));
    page.on("dialog", (dialog) => { this.wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on("console", (message) => {
      // The browser itself says so of pages that are answered with an error's status.
      const ofStatus = message.text().startsWith("Failed to load resource: the server responded with a status of 4");
      // A page that is left gives up what it had asked for.
      const ofLeaving = message.text().startsWith("htmx: htmx:error: Failed to fetch");
      if (["error", "warning"].includes(message.type()) && !ofStatus && !ofLeaving) this.wrong.push(`console: ${message.text()}`);
    });
    return page;
  }

  // Keeps a picture, and holds the page against the rules of accessibility and of narrow screens.
  async look(page, name) {
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.screenshot({ path: path.join(process.env.PICTURES, `${name}.png`), fullPage: true });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(over <= 0, `${name}: the page is ${over} pixels wider than the window`);
    const html = await page.content();
    for (const secret of facts.secrets ?? []) assert.equal(html.includes(secret), false, `${name} shows a secret`);
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }));
    for (const { id, impact, nodes } of violations) {
      this.findings.push({ impact, text: `${name}: ${id} (${impact}): ${nodes.map((node) => node.html).slice(0, 3).join(" ")}` });
    }
  }

  // The same page in light and dark, wide and narrow.
  async lookAround(page, name, act = async () => {}) {
    const cookies = await page.context().cookies();
    for (const [suffix, how] of Object.entries({
      "": {}, "-dark": { dark: true }, "-narrow": { width: 390, height: 844 }, "-narrow-dark": { width: 390, height: 844, dark: true },
    })) {
      const other = await this.visitor(how);
      await other.context().addCookies(cookies);
      await other.goto(page.url());
      await act(other);
      await this.look(other, name + suffix);
      await other.context().close();
    }
  }

  async close() {
    await this.browser.close();
    for (const { text } of this.findings) console.error(text);
    const grave = this.findings.filter(({ impact }) => ["serious", "critical"].includes(impact));
    assert.deepEqual(grave.map(({ text }) => text), [], "accessibility");
    assert.deepEqual(this.wrong, [], "what must not happen");
  }
}

// Runs a walk; whatever goes wrong in it is shown with a picture of where it was.
export const walk = async (steps) => {
  const stage = await Stage.open();
  try {
    await steps(stage);
  } catch (error) {
    const pages = stage.browser.contexts().flatMap((context) => context.pages());
    for (const [at, page] of pages.entries()) {
      await page.screenshot({ path: path.join(process.env.PICTURES, `failed-${at}.png`), fullPage: true }).catch(() => {});
      console.error(`at ${page.url()}`);
    }
    if (stage.wrong.length) console.error(stage.wrong.join("\n"));
    await stage.browser.close();
    throw error;
  }
  await stage.close();
  // Nobody is asked for anything any more; else the open input would keep this process.
  process.stdin.destroy();
};
