// Records, replies and names that are scripts stay what they are: text.
import assert from "node:assert/strict";
import { base, facts, please, walk } from "./stage.mjs";

await walk(async (stage) => {
  const page = await stage.visitor();
  await please("produce");
  const clean = async (name) => {
    await stage.look(page, name);
    assert.equal(await page.evaluate(() => typeof window.pwned), "undefined", name);
    const strange = await page.evaluate(() => document.querySelectorAll("main :is(iframe, object, embed, math, marquee), main script, main img:not([src^='/assets/']), main svg svg").length);
    assert.equal(strange, 0, `${name}: elements that nobody made`);
    const text = await page.evaluate(() => document.body.innerText);
    assert.doesNotMatch(text, /[\u202a-\u202e\u2066-\u2069\u0000\u001b]/u, `${name}: what turns lines around`);
    return text;
  };

  await page.goto(base);
  assert.match(await clean("hostile-list"), /<script>window\.pwned/);
  await page.goto(`${base}/webhooks/${facts.id}`);
  await clean("hostile-webhook");
  await page.goto(`${base}/webhooks/${facts.id}/edit`);
  await clean("hostile-edit");
  await page.getByRole("link", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByRole("heading", { name: "Not passed" }).waitFor();
  await clean("hostile-test");

  await page.goto(`${base}/logs`);
  await page.locator("#charts svg").first().waitFor();
  const text = await clean("hostile-logs");
  assert.match(text, /<script>window\.pwned=1<\/script>/);
  assert.match(text, /\\u\{202e\}/);
  await page.locator("#rows tr[id]", { hasText: "onerror" }).first().getByRole("link", { name: /^Show/ }).click();
  await page.locator(".peeked pre").first().waitFor();
  await clean("hostile-logs-row-open");
  await page.locator(".peeked").getByRole("link", { name: "Whole delivery" }).click();
  await page.getByRole("heading", { name: "Attempt 1" }).waitFor();
  await clean("hostile-delivery");

  // What an address says is text as well.
  for (const path of ["/logs?order_id=%22%3E%3Cscript%3Ewindow.pwned%3D1%3C/script%3E&endpoint=%3Cimg%20src%3Dx%20onerror%3Dwindow.pwned%3D1%3E",
    "/?account=%22%3E%3Cscript%3Ewindow.pwned%3D1%3C/script%3E", "/logs?from=%3Cscript%3E", "/deliveries/%3Cscript%3E", "/webhooks/%3Cscript%3E", "/%3Cscript%3E"]) {
    await page.goto(base + path);
    await clean("hostile-address");
  }
  // And so is everything without scripts: the pages are whole.
  const plain = await stage.visitor({ script: false });
  await plain.goto(`${base}/logs?result=failed`);
  assert.ok(await plain.locator("#rows tr").count() > 0);
  await plain.getByRole("link", { name: "Success rate and time spent" }).click();
  await plain.locator("#charts svg").first().waitFor();
});
