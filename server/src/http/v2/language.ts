import type { Context } from 'hono';
import type { Language } from './services.ts';

/** French where `Accept-Language` prefers it over English (contract, section 2.1). */
export function languageOf(c: Context): Language {
  const wishes = (c.req.header('Accept-Language') ?? '')
    .split(',')
    .map((part) => {
      const [tag = '', ...parameters] = part.trim().toLowerCase().split(';');
      const quality = parameters.map((parameter) => /^\s*q=([\d.]+)\s*$/.exec(parameter)?.[1]).find(Boolean);
      return { language: tag.slice(0, 2), quality: quality === undefined ? 1 : Number(quality) };
    })
    .filter(({ language, quality }) => (language === 'fr' || language === 'en') && quality > 0)
    .sort((a, b) => b.quality - a.quality);
  return wishes[0]?.language === 'fr' ? 'fr' : 'en';
}
