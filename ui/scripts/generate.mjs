// Writes the types of the API, src/lib/schema.d.ts, from the committed description of it.
import { existsSync, writeFileSync } from 'node:fs';
import openapi, { astToString } from 'openapi-typescript';

// The build copies the description beside package.json; in the repository it is in docs/.
const source = ['../openapi.json', '../../docs/openapi.json'].map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url));
if (!source) throw new Error('openapi.json is neither here nor in docs/: run `make openapi`');
writeFileSync(new URL('../src/lib/schema.d.ts', import.meta.url), astToString(await openapi(source)));
