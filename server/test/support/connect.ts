/** The Connect pages over a refresh side, on a clock that the test drives: nothing listens, and nothing runs by itself. */
import { Hono } from 'hono';
import { createConnectSession, type NewConnectSession } from '../../src/access/connect-sessions.ts';
import type { Connector } from '../../src/connectors/connector.ts';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import { statementsConnector } from '../../src/connectors/statements/connector.ts';
import { createConnect } from '../../src/http/connect/connect.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createVisitor, type Visited, type Visitor } from './visitor.ts';
import { APPLICATION, createWorld, USER, type World } from './world.ts';

export const REDIRECT = 'https://app.example/return?kept=1';
const BASE = 'http://connect.test';

export type ConnectWorld = World & {
  /** The path of a new link. */
  link(session?: Partial<NewConnectSession>): Promise<string>;
  visitor(language?: string): Visitor;
  /** A new session at the form of the Demo Bank. */
  atForm(visitor: Visitor, session?: Partial<NewConnectSession>): Promise<{ path: string; page: Visited }>;
};

/** `demo` stands before the Demo Bank, `banks` beside it and the statement files. */
export async function createConnectWorld(
  storage: Storage,
  options: { publicUrl?: string; demo?: (bank: Connector) => Connector; banks?: readonly Connector[] } = {},
): Promise<ConnectWorld> {
  const { demo = (bank: Connector) => bank, banks = [] } = options;
  const connectors = [demo(demoBank({ latencyMs: 0 })), statementsConnector, ...banks];
  const world = await createWorld(storage, connectors);
  await storage.transaction((tx) =>
    tx.run(sql`update applications set name = 'Exemple', redirect_url = ${REDIRECT} where id = ${APPLICATION}`),
  );
  const app = createConnect({
    ...world.services,
    banks: () => connectors.map(({ bank }) => bank),
    publicUrl: options.publicUrl ?? BASE,
    onRefreshRequested: () => {},
  });
  const mounted = new Hono().route('/connect', app);
  const connect: ConnectWorld = {
    ...world,
    async link(session = {}) {
      const whole: NewConnectSession = { applicationId: APPLICATION, userUuid: USER, purpose: 'add', language: 'en', ...session };
      return `/connect/session/${await storage.transaction((tx) => createConnectSession(tx, whole, world.clock.now()))}`;
    },
    visitor: (language = 'en') => createVisitor(async (request) => mounted.fetch(request), BASE, language),
    async atForm(visitor, session = {}) {
      const path = await connect.link(session);
      let page = await visitor.submit(await visitor.get(path), {});
      if (session.bankId == null) page = await visitor.submit(page, { bank_id: '574' });
      return { path, page };
    },
  };
  return connect;
}
