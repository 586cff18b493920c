/** Banks and categories: the same for every user (contract, sections 3.2 and 3.3). */
import { z } from 'zod';
import { DAY_MS, isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { categoryGroups, findCategory } from '../../connectors/categories.ts';
import type { Bank } from '../../connectors/connector.ts';
import { refreshOutcomes } from '../../items/read.ts';
import { decodeCursor, pageQuery } from '../edge/cursors.ts';
import { pathId, readQuery } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { ApplicationCall, Route } from './calls.ts';
import { idCursor, page } from './pages.ts';

/** How far back the insights look: long enough for two refreshes of every item. */
const INSIGHTS_PERIOD_MS = DAY_MS;
/** Filters are read apart from the schema because they repeat. */
const FILTER_VALUES_MAXIMUM = 50;

/** Key order as recorded. `url` belongs to a kind of bank that no connector offers. */
function showBank(bank: Bank, publicUrl: string): object {
  return {
    id: bank.id,
    name: bank.name,
    country_code: bank.countryCode,
    logo_url: new URL(bank.logoUrl, publicUrl).href,
    authentication_type: bank.authenticationType,
    form: bank.form.map((field) => ({
      label: field.label,
      type: field.type,
      isNum: field.isNum,
      maxLength: field.maxLength,
      minLength: field.minLength,
    })),
    is_highlighted: bank.isHighlighted,
    primary_color: bank.primaryColor,
    secondary_color: bank.secondaryColor,
    parent_name: bank.parentName,
    capabilities: bank.capabilities,
    ...(bank.transfer && { transfer: bank.transfer }),
    ...(bank.payment && { payment: bank.payment }),
    channel_type: bank.channelType,
    display_order: bank.displayOrder,
    authentication_page_url: null,
  };
}

async function listBanks({ c, services, application }: ApplicationCall): Promise<Response> {
  const query = readQuery(c, z.object(pageQuery));
  const parameters = new URL(c.req.url).searchParams;
  const countries = parameters.getAll('countries');
  const capabilities = parameters.getAll('capabilities');
  if (countries.length + capabilities.length > FILTER_VALUES_MAXIMUM) throw new Refusal('bad_request', 'too many filters');
  // Programs write both `countries=fr&countries=es` and `countries=fr,es`.
  const split = (values: string[]) => values.flatMap((value) => value.split(',')).filter(Boolean);
  const after = decodeCursor(idCursor, query.after);
  const banks = services.registry
    .banks(application.environment, { countries: split(countries), capabilities: split(capabilities) })
    .filter((bank) => after === null || bank.id < after);
  return json(
    page(banks, {
      path: '/v2/banks',
      limit: query.limit,
      form: idCursor,
      keyOf: (bank) => bank.id,
      show: (bank) => showBank(bank, services.publicUrl),
      filters: [
        ...countries.map((country) => ['countries', country] as const),
        ...capabilities.map((capability) => ['capabilities', capability] as const),
      ],
    }),
  );
}

async function oneBank({ c, services, application }: ApplicationCall): Promise<Response> {
  const bank = services.registry.bank(pathId(c), application.environment);
  if (!bank) throw new Refusal('not_found');
  return json(showBank(bank, services.publicUrl));
}

/** A bare list. The figures are of the application's own refreshes, so that no tenant learns of another's. */
async function insights({ services, application, now }: ApplicationCall): Promise<Response> {
  const outcomes = await refreshOutcomes(services.storage, application.id, now - INSIGHTS_PERIOD_MS);
  const banks = services.registry.banks(application.environment, { countries: [], capabilities: [] });
  return json(
    banks.map((bank) => {
      const outcome = outcomes.find(({ bankId }) => bankId === bank.id) ?? { succeeded: 0, failed: 0 };
      const total = outcome.succeeded + outcome.failed;
      const success = total === 0 ? 100 : Math.round((outcome.succeeded / total) * 1_000) / 10;
      return {
        id: bank.id,
        bank_name: bank.name,
        percentage_success: success,
        percentage_error: Math.round((100 - success) * 10) / 10,
        refresh_at: isoTimestamp(now),
        country: bank.countryCode,
        children: [],
        active: true,
      };
    }),
  );
}

async function listCategories({ language, now }: ApplicationCall): Promise<Response> {
  return json({
    resources: categoryGroups.map((group) => ({
      id: group.id,
      name: group.names[language],
      categories: group.categories.map((category) => ({ id: category.id, name: category.names[language] })),
    })),
    generated_at: isoTimestamp(now),
    pagination: { next_uri: null },
  });
}

async function oneCategory({ c, language }: ApplicationCall): Promise<Response> {
  const id = pathId(c);
  const category = findCategory(id);
  if (category) return json({ id: category.id, name: category.names[language], parent_id: category.parentId });
  // A group's id is in the list, so it has an answer too.
  const group = categoryGroups.find((candidate) => candidate.id === id);
  if (!group) throw new Refusal('not_found');
  return json({ id: group.id, name: group.names[language], parent_id: null });
}

export const catalogueRoutes: readonly Route[] = [
  { method: 'GET', path: '/v2/banks', scope: 'application', answer: listBanks },
  { method: 'GET', path: '/v2/banks/insights', scope: 'application', answer: insights },
  { method: 'GET', path: '/v2/banks/:id', scope: 'application', answer: oneBank },
  { method: 'GET', path: '/v2/categories', scope: 'application', answer: listCategories },
  { method: 'GET', path: '/v2/categories/:id', scope: 'application', answer: oneCategory },
];
