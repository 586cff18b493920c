/** Where the customers of the Demo Bank pay: the name on the label, the category, and whether a tip is usual. */
export type Merchant = { name: string; categoryId: number; tips?: boolean };

export const FRENCH_MERCHANTS: readonly Merchant[] = [
  { name: 'CARREFOUR CITY', categoryId: 273 },
  { name: 'MONOPRIX', categoryId: 273 },
  { name: 'LIDL', categoryId: 273 },
  { name: 'FRANPRIX', categoryId: 273 },
  { name: 'PICARD SURGELES', categoryId: 273 },
  { name: 'BOULANGERIE', categoryId: 188 },
  { name: 'BRASSERIE DE LA GARE', categoryId: 83, tips: true },
  { name: 'PIZZERIA DU PORT', categoryId: 83, tips: true },
  { name: 'MCDONALDS', categoryId: 260 },
  { name: 'CAFE DU MARCHE', categoryId: 313 },
  { name: 'RATP', categoryId: 196 },
  { name: 'SNCF CONNECT', categoryId: 197 },
  { name: 'TOTALENERGIES', categoryId: 87 },
  { name: 'PHARMACIE CENTRALE', categoryId: 236 },
  { name: 'FNAC', categoryId: 243 },
  { name: 'DECATHLON', categoryId: 262 },
  { name: 'COIFFEUR', categoryId: 235 },
];

export const BRITISH_MERCHANTS: readonly Merchant[] = [
  { name: 'TESCO EXPRESS', categoryId: 273 },
  { name: 'SAINSBURYS', categoryId: 273 },
  { name: 'PRET A MANGER', categoryId: 260 },
  { name: 'TFL TRAVEL', categoryId: 196 },
  { name: 'WATERSTONES', categoryId: 243 },
];
