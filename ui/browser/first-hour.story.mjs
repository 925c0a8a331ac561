// The first hour of a newcomer, told in a browser from set-up to the report. Each story counts its steps: screens opened and
// decisions taken (shared/reference/ui.md 5.4 sets how many are too many).

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { launch, open } from './look.mjs';
import { fresh, world } from './program.mjs';

let browser, sim, server, page, context, faults;
let steps = 0;
/** One screen opened or one decision taken. */
const step = async (does) => {
  steps += 1;
  return does;
};
/** Tells a story and compares its steps. */
const story = (name, most, tell) =>
  test(name, async (t) => {
    steps = 0;
    await tell(t);
    assert.ok(steps <= most, `${steps} steps, at most ${most} are wanted`);
    t.diagnostic(`${steps} of at most ${most} steps`);
    assert.deepEqual(faults.splice(0), [], 'errors on the console');
  });

before(async () => {
  browser = await launch();
  sim = await world();
  server = await fresh(sim.env);
  ({ page, context, faults } = await open(browser, { viewport: { width: 1280, height: 860 } }));
});
after(async () => {
  await context?.close();
  await browser?.close();
  await server?.stop();
  await sim?.stop();
});
