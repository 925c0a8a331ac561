// Campaigns: local times and the instants that they name, and what a remote host's reply means in plain words.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import test from 'node:test';
import ts from 'typescript';

/** A module without its types. Node 20 reads no TypeScript. */
async function load(path) {
  const source = readFileSync(new URL(`../src/screens/campaigns/${path}`, import.meta.url), 'utf8');
  const { outputText } = ts.transpileModule(source, { compilerOptions: { target: 'ES2022', module: 'ESNext' } });
  return import(`data:text/javascript;base64,${Buffer.from(outputText).toString('base64')}`);
}
const zones = await load('zones.ts');
const kinds = await load('kinds.ts');
const days = await load('day.ts');

const utc = (local, zone) => {
  const found = zones.instantOf(local, zone);
  return found && [new Date(found.at).toISOString().slice(0, 16), found.exists];
};

test('a local time names the instant that the server will take', () => {
  assert.deepEqual(utc('2026-12-01T10:00', 'Europe/Rome'), ['2026-12-01T09:00', true]);
  assert.deepEqual(utc('2026-07-01T10:00', 'Europe/Rome'), ['2026-07-01T08:00', true]);
  assert.deepEqual(utc('2026-12-01T10:00', 'Asia/Kathmandu'), ['2026-12-01T04:15', true]);
  assert.deepEqual(utc('2026-12-31T23:30', 'Pacific/Kiritimati'), ['2026-12-31T09:30', true]);
  assert.deepEqual(utc('2026-12-01T00:00', 'UTC'), ['2026-12-01T00:00', true]);
});

test('a time that the clock skips is moved to the end of the gap', () => {
  // 28 March 2027: 02:00 becomes 03:00 in Rome.
  assert.deepEqual(utc('2027-03-28T01:59', 'Europe/Rome'), ['2027-03-28T00:59', true]);
  assert.deepEqual(utc('2027-03-28T02:30', 'Europe/Rome'), ['2027-03-28T01:30', false]);
  assert.deepEqual(utc('2027-03-28T03:00', 'Europe/Rome'), ['2027-03-28T01:00', true]);
});

test('of a time that comes twice the first is meant', () => {
  assert.deepEqual(utc('2026-10-25T02:30', 'Europe/Rome'), ['2026-10-25T00:30', true]);
  assert.deepEqual(utc('2026-11-01T01:30', 'America/New_York'), ['2026-11-01T05:30', true]);
});

test('what is no time has no instant', () => {
  assert.equal(zones.instantOf('', 'Europe/Rome'), undefined);
  assert.equal(zones.instantOf('2026-13-01T10:00', 'Europe/Rome'), undefined);
});

test('every local time of an instant leads back to it', () => {
  for (const zone of ['Europe/Warsaw', 'America/St_Johns', 'Australia/Lord_Howe', 'Africa/Casablanca']) {
    for (let at = Date.UTC(2026, 0, 1); at < Date.UTC(2027, 0, 1); at += 7 * 3_600_000) {
      const local = zones.localAt(at, zone);
      const found = zones.instantOf(local, zone);
      assert.ok(found.exists, `${local} ${zone}`);
      assert.equal(zones.localAt(found.at, zone), local);
    }
  }
});

test('replies are told in plain words, and nothing is made of an unknown one', () => {
  const cases = {
    '550 5.1.1 No such mailbox here': 'invalid_recipient',
    '552 5.2.2 This mailbox is full': 'mailbox_full',
    '550 5.7.1 This message looks like spam': 'spam_content',
    '554 5.7.1 Your address is on a block list': 'blocked_ip',
    '550 5.7.1 Mail from your network is not accepted': 'recipient_policy',
    '451 4.3.0 Temporary trouble, please try again later': 'transient',
    '550 5.7.26 DMARC failed': 'auth_failed',
    'unable to reach remote mail server: no answer in time at greeting': 'unreachable_host',
    '550 no': 'unknown',
    '250 2.0.0 Ok: kept': '',
    '': '',
    '<script>alert(1)</script>': '',
  };
  for (const [reply, reading] of Object.entries(cases)) assert.equal(kinds.readReply(reply), reading, reply);
});

test('every reading and every status has its words', () => {
  const words = JSON.parse(readFileSync(new URL('../src/i18n/campaigns/en.json', import.meta.url), 'utf8'));
  for (const status of kinds.STATUSES) {
    assert.ok(words[`campaigns.status.${status}`], status);
    assert.ok(words[`campaigns.status.about.${status}`], status);
  }
  const api = JSON.parse(readFileSync([new URL('../openapi.json', import.meta.url), new URL('../../docs/openapi.json', import.meta.url)].find((url) => existsSync(url)), 'utf8')).components.schemas;
  assert.deepEqual([...kinds.STATUSES].sort(), [...api.ReportStatus.enum].sort());
  assert.deepEqual([...kinds.STATES].sort(), [...api.CampaignState.enum].sort());
  for (const reason of api.Withheld.enum) assert.ok(words[`campaigns.reason.${reason}`], reason);
  for (const result of api.AttemptResult.enum) assert.ok(words[`campaigns.result.${result}`], result);
  for (const objective of api.Objective.enum) assert.ok(words[`campaigns.objective.${objective}`], objective);
});

test('days of a workspace begin and end at its midnight, also when the clock is changed', () => {
  const day = (now, zone) => Object.values(days.dayOf(Date.parse(now), zone)).map((ms) => new Date(ms).toISOString().slice(0, 16));
  assert.deepEqual(day('2026-11-22T12:00:00Z', 'Europe/Rome'), ['2026-11-21T23:00', '2026-11-22T23:00']);
  assert.deepEqual(day('2026-11-21T23:00:00Z', 'Europe/Rome'), ['2026-11-21T23:00', '2026-11-22T23:00']);
  assert.deepEqual(day('2026-03-29T10:00:00Z', 'Europe/Rome'), ['2026-03-28T23:00', '2026-03-29T22:00'], 'a day of 23 hours');
  assert.deepEqual(day('2026-10-25T10:00:00Z', 'Europe/Rome'), ['2026-10-24T22:00', '2026-10-25T23:00'], 'a day of 25 hours');
  assert.deepEqual(day('2026-11-22T12:07:00Z', 'Asia/Kathmandu'), ['2026-11-21T18:15', '2026-11-22T18:15']);
  assert.deepEqual(day('2026-11-22T12:00:00Z', 'UTC'), ['2026-11-22T00:00', '2026-11-23T00:00']);
});
