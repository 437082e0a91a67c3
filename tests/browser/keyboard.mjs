// Adding, testing and looking at the log without a pointer: Tab, Space, Enter and letters only.
import assert from "node:assert/strict";
import { base, facts, please, walk } from "./stage.mjs";

await walk(async (stage) => {
  const page = await stage.visitor();
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());

  // The name of what has the focus, as a screen reader has it.
  const focused = () => page.evaluate(() => {
    const at = document.activeElement;
    const label = at.labels?.[0]?.innerText ?? at.getAttribute("aria-label") ?? at.innerText;
    return (label ?? "").trim().split("\n")[0];
  });
  // Tabs on to what has a name, and sees that the focus can be seen.
  const tabTo = async (name) => {
    for (let tabs = 0; tabs < 80; tabs += 1) {
      await press("Tab");
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.notEqual(outline, "none", `the focus on ${await focused()} cannot be seen`);
      if ((await focused()).startsWith(name)) return;
    }
    assert.fail(`no way to ${name}`);
  };

  await page.goto(base);
  await press("Tab");
  assert.equal(await focused(), "Skip to the content");
  await stage.look(page, "keyboard-skip");
  await press("Enter", "Tab");
  assert.equal(await focused(), "Add Webhook", "the link skips the navigation");
  await press("Enter");
  await page.waitForURL("**/webhooks/new");
  await tabTo("URL");
  await page.keyboard.type(facts.hook);
  await tabTo("tracking_update");
  await press("Space");
  await tabTo("Send a username");
  await press("Space");
  await tabTo("Username");
  await page.keyboard.type("merchant");
  await tabTo("Password");
  await page.keyboard.type("hunter2-hunter2");
  await stage.look(page, "keyboard-form");
  await press("Enter");
  await page.getByRole("heading", { name: "First connection: passed" }).waitFor();
  await tabTo("Test");
  await press("Enter");
  await page.getByRole("heading", { name: "Passed" }).waitFor();

  await please("produce");
  await tabTo("Skip");
  await tabTo("Webhook Logs");
  await press("Enter");
  await page.locator("#rows tr").first().waitFor();
  await tabTo("Live");
  await press("Space");
  assert.equal(await page.locator("[data-live]").getAttribute("aria-pressed"), "false");
  await tabTo("Show");
  await press("Enter");
  await page.locator(".peeked pre").first().waitFor();
  await tabTo("Whole delivery");
  await press("Enter");
  await page.getByRole("heading", { name: "Attempt 1" }).waitFor();
});
