// Delivery: every word that the server may say about queues, alarms, keys, encryption and findings has its text.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import test from 'node:test';

const words = (area) => JSON.parse(readFileSync(new URL(`../src/i18n/${area}/en.json`, import.meta.url), 'utf8'));
/** The build copies what is needed of docs/ beside package.json; in the repository it lies above. */
const doc = (name) => readFileSync([new URL(`../${name}`, import.meta.url), new URL(`../../docs/${name}`, import.meta.url)].find((url) => existsSync(url)), 'utf8');
const { schemas } = JSON.parse(doc('openapi.json')).components;

const SAID = [
  ['alarms', schemas.AlarmKind.enum, ['alarm.kind', 'alarm.say', 'alarm.remedy']],
  ['alarms', schemas.AlarmSeverity.enum, ['alarm.severity', 'alarm.settings']],
  ['alarms', schemas.AlarmState.enum, ['alarm.tab', 'alarm.none']],
  ['steer', schemas.SteerAction.enum, ['steer.do', 'steer.about', 'steer.is']],
  ['sending', schemas.KeyState.enum, ['sending.key']],
  ['sending', schemas.Signing.enum, ['sending.sign', 'sending.sign.about']],
  ['queue', schemas.TlsDemand.enum, ['tls.demand', 'tls.demand.about']],
  ['egress', schemas.SourceState.enum, ['egress.state']],
];

for (const [area, all, prefixes] of SAID) {
  test(`${prefixes[0]}: every word has its text`, () => {
    const known = words(area);
    assert.ok(all.length > 1);
    for (const word of all) for (const prefix of prefixes) assert.ok(known[`${prefix}.${word}`], `${prefix}.${word}`);
  });
}

test('every finding about a sending domain has its title and its remedy', () => {
  const known = words('sending');
  const codes = [...doc('domains.md').matchAll(/^\| `(\w+)` \| (?:red|amber|note) \|/gm)].map((found) => found[1]);
  assert.ok(codes.length > 40);
  for (const code of codes) for (const prefix of ['sending.finding', 'sending.remedy']) assert.ok(known[`${prefix}.${code}`], `${prefix}.${code}`);
});
