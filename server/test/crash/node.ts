/** A server as its own process, for tests that kill it: configuration from the environment, one line when it is ready. */
import { readConfig } from '../../src/config.ts';
import { startServer } from '../../src/server.ts';

const read = readConfig(process.env, 'development');
if (!read.ok) throw new Error(read.problems.join('\n'));
const server = await startServer(read.config, { demoBankLatencyMs: Number(process.argv[2] ?? 0) });
process.on('SIGTERM', () => void server.stop().then(() => process.exit(0)));
console.log(`ready ${server.localUrl}`);
