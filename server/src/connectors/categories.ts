/**
 * The category tree of the wire: contract, Appendix A, in its order, which is also the order of `GET /v2/categories`.
 * The English names are the recorded ones; the French ones are our translation.
 */
export type Language = 'en' | 'fr';

export type Category = { readonly id: number; readonly names: Readonly<Record<Language, string>>; readonly parentId: number };

export type CategoryGroup = {
  readonly id: number;
  readonly names: Readonly<Record<Language, string>>;
  readonly categories: readonly Category[];
};

/** The category of a row that nobody has sorted. */
export const UNCATEGORIZED_ID = 1;

type Leaf = readonly [id: number, english: string, french: string];

export const categoryGroups: readonly CategoryGroup[] = [
  group(168, 'Food & Dining', 'Alimentation & Restaurants', [
    [83, 'Restaurants', 'Restaurants'],
    [188, 'Food - Others', 'Alimentation - Autres'],
    [260, 'Fast foods', 'Restauration rapide'],
    [273, 'Supermarkets / Groceries', 'Supermarché / Épicerie'],
    [313, 'Coffee shop', 'Café'],
  ]),
  group(164, 'Bank', 'Banque', [
    [79, 'Banking fees and charges', 'Frais bancaires'],
    [89, 'Mortgage refund', 'Remboursement de prêt'],
    [191, 'Monthly Debit', 'Débit mensuel carte'],
    [192, 'Savings', 'Épargne'],
    [194, 'Mortgage', 'Prêt immobilier'],
    [195, 'Bank - Others', 'Banque - Autres'],
    [306, 'Banking services', 'Services bancaires'],
    [756587, 'Payment incidents', 'Incidents de paiement'],
  ]),
  group(167, 'Education & Children', 'Scolarité & Enfants', [
    [237, 'Education & Children - Others', 'Scolarité & Enfants - Autres'],
    [238, 'School supplies', 'Fournitures scolaires'],
    [239, 'Tuition', 'Frais de scolarité'],
    [240, 'Pension', 'Pension'],
    [241, 'Student housing', 'Logement étudiant'],
    [259, 'Student loan', 'Prêt étudiant'],
    [266, 'Toys', 'Jouets'],
    [267, 'Baby-sitter & Daycare', 'Baby-sitter & Crèche'],
  ]),
  group(162, 'Shopping', 'Achats & Shopping', [
    [183, 'Gifts', 'Cadeaux'],
    [184, 'High Tech', 'High-tech'],
    [186, 'Shopping - Others', 'Achats - Autres'],
    [243, 'Books', 'Livres'],
    [262, 'Sporting goods', 'Articles de sport'],
    [272, 'Clothing & Shoes', 'Vêtements & Chaussures'],
    [318, 'Music', 'Musique'],
    [319, 'Movies', 'Films'],
    [441888, 'Licences', 'Licences'],
  ]),
  group(171, 'Bills & Utilities', 'Factures & Abonnements', [
    [180, 'Internet', 'Internet'],
    [219, 'Cable TV', 'Télévision'],
    [258, 'Home phone', 'Téléphone fixe'],
    [277, 'Mobile phone', 'Téléphone mobile'],
    [280, 'Subscription - Others', 'Abonnements - Autres'],
  ]),
  group(303, 'Withdrawals, checks & transfer', 'Retraits, chèques & virements', [
    [78, 'Transfer', 'Virements'],
    [85, 'Withdrawals', 'Retraits'],
    [88, 'Checks', 'Chèques'],
    [326, 'Internal transfer', 'Virements internes'],
  ]),
  group(2, 'Incomes', 'Revenus', [
    [3, 'Other incomes', 'Autres revenus'],
    [80, 'Interest incomes', "Revenus d'intérêts"],
    [230, 'Salaries', 'Salaires'],
    [231, 'Sales', 'Ventes'],
    [232, 'Services', 'Services'],
    [233, 'Extra incomes', 'Revenus complémentaires'],
    [271, 'Deposit', 'Dépôts'],
    [279, 'Retirement', 'Retraite'],
    [282, 'Internal transfer', 'Virements internes'],
    [283, 'Refunds', 'Remboursements'],
    [289, 'Savings', 'Épargne'],
    [314, 'Rent', 'Loyers'],
    [327, 'Pension', 'Pension'],
    [441893, 'Grants', 'Subventions'],
    [441894, 'Loans', 'Emprunts'],
  ]),
  group(161, 'Home', 'Logement', [
    [216, 'Rent', 'Loyer'],
    [217, 'Electricity', 'Électricité'],
    [218, 'Gas', 'Gaz'],
    [220, 'Home - Others', 'Logement - Autres'],
    [221, 'Home improvement', 'Travaux'],
    [222, 'Maintenance', 'Entretien'],
    [246, 'Home insurance', 'Assurance habitation'],
    [293, 'Water', 'Eau'],
    [323, 'Lawn & Garden', 'Jardin & Extérieur'],
    [328, 'Misc. utilities', 'Charges diverses'],
  ]),
  group(315, 'Personal care', 'Soins personnels', [
    [235, 'Hairdresser', 'Coiffeur'],
    [248, 'Cosmetics', 'Cosmétiques'],
    [316, 'Spa & Massage', 'Spa & Massage'],
    [317, 'Personal care - Others', 'Soins personnels - Autres'],
    [321, 'Beauty care', 'Esthétique'],
  ]),
  group(166, 'Business services', 'Services professionnels', [
    [90, 'Business services - Others', 'Services professionnels - Autres'],
    [202, 'Advertising', 'Publicité'],
    [203, 'Office services', 'Services de bureau'],
    [204, 'Shipping', 'Expédition'],
    [205, 'Printing', 'Impression'],
    [265, 'Business expenses', 'Notes de frais'],
    [270, 'Online services', 'Services en ligne'],
    [274, 'Office supplies', 'Fournitures de bureau'],
    [441886, 'Employer contributions', 'Cotisations patronales'],
    [441889, 'Accounting', 'Comptabilité'],
    [441890, 'Salaries', 'Salaires'],
    [441891, 'Salary of executives', 'Salaires des dirigeants'],
    [441892, 'Hiring fees', 'Frais de recrutement'],
    [441895, 'Consulting', 'Conseil'],
    [441896, 'Outsourcing', 'Sous-traitance'],
    [441897, 'Disability Insurance', 'Prévoyance'],
    [441898, 'Training taxes', 'Taxes de formation'],
    [441899, 'Legal Fees', 'Frais juridiques'],
    [441900, 'Marketing', 'Marketing'],
  ]),
  group(163, 'Health', 'Santé', [
    [236, 'Pharmacy', 'Pharmacie'],
    [245, 'Health insurance', 'Assurance santé'],
    [261, 'Doctor', 'Médecin'],
    [268, 'Health - Others', 'Santé - Autres'],
    [322, 'Optician / Eyecare', 'Opticien'],
    [325, 'Dentist', 'Dentiste'],
  ]),
  group(165, 'Auto & Transport', 'Auto & Transports', [
    [84, 'Auto & Transport - Others', 'Auto & Transports - Autres'],
    [87, 'Gas & Fuel', 'Carburant'],
    [196, 'Public transportation', 'Transports en commun'],
    [197, 'Train ticket', 'Billets de train'],
    [198, 'Plane ticket', "Billets d'avion"],
    [247, 'Auto insurance', 'Assurance auto'],
    [251, 'Parking', 'Stationnement'],
    [264, 'Car rental', 'Location de véhicule'],
    [288, 'Car maintenance', 'Entretien du véhicule'],
    [309, 'Tolls', 'Péages'],
  ]),
  group(159, 'Taxes', 'Impôts & Taxes', [
    [206, 'Taxes - Others', 'Impôts & Taxes - Autres'],
    [207, 'Fine', 'Amendes'],
    [208, 'Incomes taxes', 'Impôts sur le revenu'],
    [209, 'Property taxes', 'Taxes foncières'],
    [302, 'Taxes', 'Taxes'],
    [441988, 'VAT', 'TVA'],
  ]),
  group(160, 'Misc. expenses', 'Dépenses diverses', [
    [1, 'Uncategorized', 'Non catégorisé'],
    [276, 'Others spending', 'Autres dépenses'],
    [278, 'Insurance', 'Assurance'],
    [294, 'Charity', 'Dons'],
    [308, 'Tobacco', 'Tabac'],
    [324, 'Laundry / Dry cleaning', 'Laverie / Pressing'],
  ]),
  group(170, 'Entertainment', 'Loisirs & Sorties', [
    [223, 'Entertainment - Others', 'Loisirs - Autres'],
    [224, 'Pets', 'Animaux'],
    [226, 'Hobbies', 'Passe-temps'],
    [227, 'Bars & Clubs', 'Bars & Clubs'],
    [242, 'Sports', 'Sports'],
    [244, 'Arts & Amusement', 'Arts & Divertissements'],
    [249, 'Travels / Vacation', 'Voyages / Vacances'],
    [263, 'Hotels', 'Hôtels'],
    [269, 'Amusements', 'Divertissements'],
    [310, 'Winter sports', "Sports d'hiver"],
    [320, 'Eating out', 'Sorties au restaurant'],
  ]),
];

const byId = new Map<number, Category>(categoryGroups.flatMap((entry) => entry.categories).map((category) => [category.id, category]));

/** A leaf of the tree, or null. The groups themselves are no categories: no row carries one. */
export function findCategory(id: number): Category | null {
  return byId.get(id) ?? null;
}

function group(id: number, english: string, french: string, leaves: readonly Leaf[]): CategoryGroup {
  const categories = leaves.map(([leafId, en, fr]): Category => ({ id: leafId, names: { en, fr }, parentId: id }));
  return { id, names: { en: english, fr: french }, categories };
}
