// The help page's walk: from an empty list of webhooks to one delivery in a filtered log, and every button on the way.
import assert from "node:assert/strict";
import { base, facts, please, walk } from "./stage.mjs";

const COLUMNS = ["Date", "Date End", "Order ID", "Transaction ID", "Carrier", "Endpoint", "Event", "Result", "Retry", "Time Spent", "Request", "Response"];

const button = (page, name) => page.getByRole("button", { name, exact: true });
const link = (page, name) => page.getByRole("link", { name, exact: true });
const heading = (page, name) => page.getByRole("heading", { name });
const card = (page, endpoint) => page.locator(".card", { has: link(page, endpoint) });

await walk(async (stage) => {
  const page = await stage.visitor();

  // An empty list, and a form whose faults are beside their fields.
  await page.goto(base);
  await heading(page, "No webhooks yet").waitFor();
  await stage.lookAround(page, "list-empty");
  await link(page, "Add Webhook").first().click();
  await stage.lookAround(page, "add");
  await page.getByLabel("URL", { exact: true }).fill("ftp://merchant.example");
  await page.getByLabel("Filter").fill("{'TrackingCarrier'}");
  await page.getByLabel("Send a username and a password").check();
  await page.getByLabel("Username", { exact: true }).fill("a:b");
  await button(page, "Save").click();
  await heading(page, "This could not be saved yet").waitFor();
  assert.match(await page.title(), /^Error: Add Webhook/);
  for (const [field, told] of [["Filter", /^Filter cannot be read as JSON/]]) {
    const input = page.getByLabel(field);
    assert.equal(await input.getAttribute("aria-invalid"), "true", field);
    const said = (await input.getAttribute("aria-describedby")).split(" ").map((id) => page.locator(`[id="${id}"]`).innerText());
    assert.match((await Promise.all(said)).at(-1), told);
  }
  assert.equal(await page.evaluate(() => document.activeElement.matches("[data-focus]")), true, "the faults have the focus");
  await stage.look(page, "add-faults");
  await page.locator(".notice a").first().click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "filter", "a fault leads to its field");

  // What the API itself judges comes beside its field as well.
  await page.getByLabel("URL", { exact: true }).fill(facts.hook);
  await page.getByLabel("Filter").fill("");
  await button(page, "Save").click();
  await page.locator("#auth\\.username-error0").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.matches("[data-focus]")), true, "the faults have the focus again");
  assert.match(await page.locator("#events-error0").innerText(), /^The list of events is empty/);
  await stage.look(page, "add-faults-of-the-api");

  // Saved: the secret once, and what the first connection came to.
  await page.getByLabel("Description").fill("Warehouse");
  await page.getByLabel("order_shipped").check();
  await page.getByLabel("tracking_update").check();
  await page.getByLabel("Username", { exact: true }).fill("merchant");
  await page.getByLabel("Password", { exact: true }).fill("hunter2-hunter2");
  await page.getByLabel("Sign, and make a secret").check();
  await button(page, "Save").click();
  await heading(page, "First connection: passed").waitFor();
  const secret = await page.locator("#secret").innerText();
  assert.match(secret, /^whsec_/);
  await button(page, "Copy").click();
  await page.getByRole("button", { name: /Copied|Ctrl/ }).waitFor();
  await stage.look(page, "added");
  await page.goto(page.url().replace(/\/new$/, ""));

  // A second one, whose endpoint fails: it is saved all the same, and a hint helps on.
  await page.goto(`${base}/webhooks/new`);
  await page.getByLabel("URL", { exact: true }).fill(facts.broken);
  await page.getByLabel("tracking_update").check();
  await page.getByLabel("order_error").check();
  await page.getByLabel("Most retries").fill("1");
  await button(page, "Save").click();
  await heading(page, "First connection: not passed").waitFor();
  await page.getByText("HTTP response code is 403, it must be 200. Please Retry!").waitFor();
  await stage.look(page, "added-first-connection-failed");

  // Test shows everything transmitted.
  await page.goto(base);
  await stage.lookAround(page, "list");
  assert.equal((await page.content()).includes(secret), false, "the secret is shown once");
  await button(card(page, facts.hook), "Test").click();
  await heading(page, "Passed").waitFor();
  const request = page.getByRole("region", { name: "Request" });
  await request.getByText(`POST ${facts.hook}`).waitFor();
  assert.match(await request.innerText(), /authorization\s+\*{8}/);
  assert.match(await page.getByRole("region", { name: "Response" }).innerText(), /200 OK/);
  await page.getByRole("combobox", { name: "Event" }).selectOption("tracking_update");
  await button(page, "Test again").click();
  await page.getByText("WZ116539070").waitFor();
  await stage.look(page, "test-passed");
  await page.goto(base);
  await button(card(page, facts.broken), "Test").click();
  await heading(page, "Not passed").waitFor();
  await stage.look(page, "test-failed");
  await page.setViewportSize({ width: 390, height: 844 });
  await stage.look(page, "test-failed-narrow");
  await page.setViewportSize({ width: 1440, height: 900 });

  // Events come, and the log has them.
  await please("produce");
  await page.goto(base);
  await link(card(page, facts.hook), "View Webhook Logs").click();
  await page.locator("#rows tr").first().waitFor();
  assert.deepEqual(await page.locator("#results .table").last().locator("thead th").allInnerTexts(), COLUMNS);
  await link(page, "Webhook Logs").click();
  await page.locator("#charts svg").first().waitFor();
  const before = await page.locator("#rows tr").count();
  assert.ok(before >= 8, `${before} rows`);

  // It goes on while one looks, says so, and can be stopped.
  await please("produce one");
  await page.locator("#rows tr.new").first().waitFor();
  assert.match(await page.getByRole("status").innerText(), /new attempt/);
  await button(page, "Live").click();
  assert.equal(await button(page, "Live").getAttribute("aria-pressed"), "false");

  // Older attempts are a page away, and hours have their bars.
  await please("fill the last day");
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("#charts rect.success").length > 20);
  await link(page, "Older").click();
  await link(page, "Newest").waitFor();
  assert.equal(await page.locator("#rows tr").count(), 50);
  await link(page, "Newest").click();
  await button(page, "Live").waitFor();
  await stage.lookAround(page, "logs", async (other) => {
    await other.locator("#charts svg").first().waitFor();
    await button(other, "Live").click();
  });
  await page.getByText("By hour, as a table").click();
  assert.match(await page.getByRole("region", { name: "By hour" }).innerText(), /UTC/);

  // Filters, by native selects alone.
  const rows = () => page.locator("#rows tr[id]");
  const choose = async (label, value, column, told) => {
    const loaded = page.waitForResponse((answer) => new URL(answer.url()).searchParams.get(column) === value);
    await page.getByRole("combobox", { name: label, exact: true }).selectOption(value);
    await loaded;
    await page.waitForFunction(([name, wanted]) => new URLSearchParams(location.search).get(name) === wanted, [column, value]);
    const texts = await rows().allInnerTexts();
    assert.ok(texts.length > 0, `${label} ${value} finds nothing`);
    for (const text of texts) assert.match(text, told, `${label} ${value}`);
    return texts.length;
  };
  const all = await choose("Endpoint", facts.broken, "endpoint", new RegExp(facts.broken));
  const tracking = await choose("Event", "tracking_update", "event", /tracking_update/);
  await choose("Result", "failed", "result", /Failed/);
  const last = await choose("Retry", "1", "retry", /1 \/ 1/);
  assert.ok(all > tracking && tracking > last, `${all}, ${tracking}, ${last}`);
  await stage.look(page, "logs-filtered");
  await page.getByLabel("Order ID").fill("no such order");
  await button(page, "Show").click();
  await heading(page, "No attempt is like that").waitFor();
  await stage.look(page, "logs-none");
  await page.goBack();
  await rows().first().waitFor();

  // A row opens on what was sent and what came back, and closes again.
  const show = rows().first().getByRole("link", { name: /^Show/ });
  await show.click();
  const peeked = page.locator(".peeked");
  await peeked.getByText("WZ116539070").waitFor();
  await stage.look(page, "logs-row-open");
  await show.click();
  await peeked.waitFor({ state: "detached" });

  // One delivery, with its attempts.
  await rows().first().getByRole("link").first().click();
  await heading(page, "Attempt 2").waitFor();
  assert.match(await page.getByRole("region", { name: "Request" }).innerText(), /"tracking": "WZ116539070"/);
  await stage.lookAround(page, "delivery");

  // Edit: what is masked is kept, and cleared when the endpoint moves.
  await page.goto(base);
  await link(card(page, facts.hook), "Edit").click();
  assert.equal(await page.getByLabel("Password", { exact: true }).inputValue(), "********");
  await stage.look(page, "edit");
  await page.getByLabel("Description").fill("Warehouse in Prato");
  await button(page, "Save").click();
  await page.getByText("The changes are saved.").waitFor();
  await page.getByText("merchant ********").waitFor();
  await link(page, "Edit").click();
  await page.getByLabel("URL", { exact: true }).fill(facts.moved);
  await button(page, "Save").click();
  await page.getByText("credentials that were kept for the old one are cleared").waitFor();
  await stage.look(page, "edited-moved");

  // Somebody else was quicker.
  await link(page, "Edit").first().click();
  await please("change it meanwhile");
  await page.getByLabel("Description").fill("Too late");
  await button(page, "Save").click();
  await page.getByText("has changed meanwhile").waitFor();
  await stage.look(page, "edit-stale");

  // Disable and Enable, another secret, Delete and its question.
  await page.goto(base);
  await button(card(page, facts.moved), "Disable").click();
  await page.getByText("The webhook is disabled.").waitFor();
  await card(page, facts.moved).getByText("Disabled", { exact: true }).waitFor();
  await stage.look(page, "list-disabled");
  await button(card(page, facts.moved), "Enable").click();
  await page.getByText("The webhook is enabled.").waitFor();
  await link(card(page, facts.moved), "Rotate secret").click();
  await stage.look(page, "rotate");
  await button(page, "Rotate secret").click();
  assert.notEqual(await page.locator("#secret").innerText(), secret);
  await page.getByText("signs too until").waitFor();
  await page.goto(base);
  await link(card(page, facts.moved), "Delete").click();
  await heading(page, "Delete this webhook?").waitFor();
  await stage.look(page, "delete");
  await button(page, "Delete webhook").click();
  await page.getByText("The webhook is deleted.").waitFor();
  await stage.look(page, "list-deleted");
  await link(card(page, facts.moved), "Remove for good").click();
  await button(page, "Remove for good").click();
  await page.getByText("The webhook is removed for good").waitFor();
  assert.equal(await page.locator(".card").count(), 1);

  await page.goto(`${base}/nowhere`);
  await stage.lookAround(page, "nothing-here");
});
