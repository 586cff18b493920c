/** What a benchmark has measured, and how it is printed: each figure beside its limit or its peer of the same run. */

/** `peer` is a comparison of the same run, `ratio` ours over it; `limit` is on the ratio if there is one. */
export type Figure = {
  name: string;
  value: number;
  unit: string;
  peer?: number;
  ratio?: number;
  limit?: { atLeast: number } | { below: number } | { atMost: number };
};

export function printFigures(figures: readonly Figure[]): void {
  const rows = figures.map((figure) => [
    figure.name,
    `${round(figure.value)} ${figure.unit}`.trim(),
    figure.peer === undefined ? '' : `${round(figure.peer)} ${figure.unit}`.trim(),
    figure.ratio === undefined ? '' : figure.ratio.toFixed(2),
    limitOf(figure),
    verdict(figure),
  ]);
  const table = [['figure', 'value', 'peer', 'ratio', 'limit', ''], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  for (const row of table)
    console.log(
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    );
}

function round(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);
}

function limitOf({ limit }: Figure): string {
  if (!limit) return '';
  if ('atLeast' in limit) return `>= ${limit.atLeast}`;
  return 'below' in limit ? `< ${limit.below}` : `<= ${limit.atMost}`;
}

function verdict({ limit, ratio, value }: Figure): string {
  if (!limit) return '';
  const measured = ratio ?? value;
  return isWithin(limit, measured) ? 'reached' : 'missed';
}

function isWithin(limit: NonNullable<Figure['limit']>, measured: number): boolean {
  if ('atLeast' in limit) return measured >= limit.atLeast;
  return 'below' in limit ? measured < limit.below : measured <= limit.atMost;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Of values in ascending order. */
export function quantile(ascending: readonly number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? Number.NaN;
}
