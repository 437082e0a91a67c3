// Signing in: what a token may see and do, and what nobody may.
import assert from "node:assert/strict";
import { base, facts, walk } from "./stage.mjs";

const button = (page, name) => page.getByRole("button", { name, exact: true });
const link = (page, name) => page.getByRole("link", { name, exact: true });

await walk(async (stage) => {
  const page = await stage.visitor();
  const signIn = async (token) => {
    await page.getByLabel("Token").fill(token);
    await button(page, "Sign in").click();
  };

  // The page that was wanted comes after signing in.
  await page.goto(`${base}/logs?event=tracking_update`);
  await stage.lookAround(page, "sign-in");
  await signIn("not-a-token-of-anybody");
  await page.getByText("This token is not known.").waitFor();
  await stage.look(page, "sign-in-refused");
  await signIn(facts.writer);
  await page.waitForURL("**/logs?event=tracking_update");
  await stage.lookAround(page, "logs-not-kept");
  const [cookie, ...others] = await page.context().cookies();
  assert.deepEqual(others, []);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, "Strict", "/"]);
  assert.equal(cookie.value.includes(facts.writer), false, "the cookie does not hold the token as it is");
  assert.equal(await page.evaluate(() => document.cookie), "", "no script sees it");

  // A writer of two accounts.
  await page.goto(base);
  await page.getByText("account shop-a").waitFor();
  await link(page, "Add Webhook").first().waitFor();
  await stage.look(page, "list-of-a-writer");

  // Another site's page can send a form here, but it changes nothing.
  const forged = await page.context().request.post(`${base}/webhooks/${facts.id}/disable`, {
    headers: { origin: "https://evil.example" }, form: {}, maxRedirects: 0,
  });
  assert.equal(forged.status(), 403);
  const silent = await page.context().request.post(`${base}/webhooks/${facts.id}/disable`, { form: {}, maxRedirects: 0 });
  assert.equal(silent.status(), 403, "what does not say where it comes from changes nothing");
  await page.reload();
  await page.getByText("Active", { exact: true }).waitFor();

  // Out again, and everything is behind the door.
  await button(page, "Sign out").click();
  await page.waitForURL("**/sign-in");
  for (const path of ["/", "/logs", `/webhooks/${facts.id}`, "/webhooks/new", "/deliveries/x"]) {
    await page.goto(base + path);
    assert.match(page.url(), /\/sign-in\?next=/, path);
  }

  await page.goto(`${base}/sign-in`);

  // A reader sees, and has nothing to press.
  await signIn(facts.reader);
  await page.goto(`${base}/webhooks/${facts.id}`);
  await page.getByText("read only").waitFor();
  for (const name of ["Test", "Disable", "Edit", "Delete", "Rotate secret"]) {
    assert.equal(await button(page, name).count() + await link(page, name).count(), 0, name);
  }
  await stage.look(page, "webhook-of-a-reader");
  await page.goto(`${base}/webhooks/${facts.id}/edit`);
  await page.getByRole("heading", { name: "This is not allowed" }).waitFor();
  await stage.look(page, "not-allowed");
  await button(page, "Sign out").or(link(page, "To the webhooks")).first().click();
  await page.goto(base);
  await button(page, "Sign out").click();

  // A page whose session is over asks to sign in as soon as it asks for anything.
  await page.goto(`${base}/logs`);
  await page.context().clearCookies();
  await page.evaluate(() => window.htmx.ajax("GET", "/logs/rows?after=a", "#main"));
  await page.waitForURL("**/sign-in?next=/logs");

  // Another account's webhook is no webhook.
  await signIn(facts.other);
  await page.goto(`${base}/webhooks/${facts.id}`);
  await page.getByRole("heading", { name: "There is nothing here" }).waitFor();
  await page.goto(base);
  await page.getByRole("heading", { name: "No webhooks yet" }).waitFor();
});
