// No screen without a picture and a look by axe.

import assert from 'node:assert/strict';
import test from 'node:test';
import { unseen } from './screens.mjs';

test('every registered screen is among those that are looked at', () => {
  assert.deepEqual(unseen(), []);
});
