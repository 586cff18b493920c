import type { Texts } from './texts.ts';

export const french: Texts = {
  switchTo: 'English',
  skipToContent: 'Aller au contenu',
  secureConnection: 'Connexion bancaire sécurisée',
  stepsLabel: 'Étapes',
  steps: ['Choisir votre banque', 'Donner l’accès', 'Connecter'],
  stepDone: 'terminée',
  stepCurrent: 'étape en cours',
  facts: {
    encrypted: 'Vos identifiants sont chiffrés et ne sont montrés à personne.',
    readOnly: 'Accès en lecture seule\u00a0: aucun paiement n’est possible.',
    revocable: 'Vous pouvez supprimer cette connexion à tout moment.',
  },
  leave: (application) => `Quitter et revenir à ${application}`,
  leaveAnonymous: 'Quitter',
  problemTitle: 'Il y a un problème',
  continueTo: (application) => `Continuer vers ${application}`,
  closeWindow: 'Vous pouvez fermer cette fenêtre.',
  checkNow: 'Vérifier maintenant',
  anotherBank: 'Choisir une autre banque',
  start: {
    title: { add: 'Connectez votre banque', edit: 'Mettez à jour votre accès', sync: 'Renouvelez votre connexion' },
    lead: (application) => ({
      add: `${application} souhaite lire vos comptes et leurs opérations. Vous choisissez la banque et vous identifiez comme vous le faites chez elle.`,
      edit: `Votre banque n’accepte plus l’accès utilisé par ${application}. Saisissez vos identifiants actuels pour rétablir la connexion.`,
      sync: `Votre banque veut votre accord avant de transmettre de nouvelles données à ${application}. Cela prend une minute.`,
    }),
    factsTitle: 'Ce qu’il faut savoir',
    button: 'Continuer',
  },
  banks: {
    title: 'Choisissez votre banque',
    lead: 'Sélectionnez la banque où se trouvent vos comptes.',
    searchLabel: 'Rechercher une banque',
    searchPlaceholder: 'Nom de votre banque',
    searchButton: 'Rechercher',
    showAll: 'Afficher toutes les banques',
    highlighted: 'Suggestions',
    all: 'Toutes les banques',
    results: (count, query) => `${count} ${count > 1 ? 'banques' : 'banque'} pour «\u00a0${query}\u00a0»`,
    noneTitle: 'Aucune banque trouvée',
    none: 'Vérifiez l’orthographe ou essayez une partie plus courte du nom.',
  },
  credentials: {
    title: (bank) => `Identifiez-vous chez ${bank}`,
    titleEditing: (bank) => `Mettez à jour votre accès à ${bank}`,
    lead: 'Utilisez les identifiants du site de votre banque.',
    leadEditing: 'Saisissez les identifiants qui fonctionnent aujourd’hui sur le site de votre banque.',
    button: 'Ajouter votre compte',
    buttonEditing: 'Enregistrer et reconnecter',
    encrypted: (application) => `Vos identifiants sont chiffrés avant d’être conservés. ${application} ne les voit jamais.`,
    goToField: 'Corriger vos identifiants',
    busy: 'Votre banque est interrogée en ce moment. Attendez quelques secondes, puis renvoyez ce formulaire.',
  },
  files: {
    title: 'Envoyez vos relevés bancaires',
    titleEditing: 'Envoyez des relevés plus récents',
    lead: 'Téléchargez des fichiers de relevés depuis le site de votre banque, puis ajoutez-les ici. Ils sont lus sans rien demander à votre banque.',
    label: 'Fichiers de relevés',
    hint: 'CAMT.053 (.xml) ou OFX (.ofx, .qfx). Un ou plusieurs fichiers, 50 au plus, de 20\u00a0Mo au plus chacun.',
    afterwards: 'Les fichiers sont effacés une fois lus. Seuls les comptes, soldes et opérations sont conservés.',
    button: 'Ajouter votre compte',
    buttonEditing: 'Ajouter ces relevés',
    problemTitle: (count) => (count === 1 ? 'Un fichier ne peut pas être utilisé' : `${count} fichiers ne peuvent pas être utilisés`),
    nothingKept: 'Rien de cet envoi n’a été conservé. Corrigez-le, puis choisissez de nouveau les fichiers.',
    listed: { name: 'Fichiers de relevés', note: 'De toute banque\u00a0: CAMT.053 ou OFX' },
    uploadTooLarge: (mostBytes) =>
      `Ensemble, les fichiers sont trop lourds\u00a0: envoyez au plus ${mostBytes / 2 ** 20}\u00a0Mo à la fois.`,
  },
  synchronizing: {
    title: (bank) => `Connexion à ${bank}`,
    phases: { authenticating: 'Identification auprès de votre banque…', retrieving_data: 'Lecture de vos comptes…' },
    progressLabel: 'Progression de la connexion',
    progressUnknown: 'Cela prend en général moins d’une minute.',
    progress: (refreshed, total) => `${refreshed} ${refreshed > 1 ? 'comptes' : 'compte'} sur ${total}`,
    stay: 'Cette page se met à jour seule. Si vous la quittez, la connexion continue sans vous.',
  },
  otp: {
    title: 'Saisissez votre code',
    lead: (bank) => `${bank} demande un code pour s’assurer qu’il s’agit bien de vous.`,
    label: 'Code',
    wrong: 'Ce code n’a pas été accepté. Vérifiez le dernier message de votre banque et réessayez.',
    button: 'Confirmer',
  },
  approve: {
    title: 'Validez dans votre application bancaire',
    lead: (bank) => `${bank} a envoyé une demande sur votre téléphone. Ouvrez l’application pour la valider.`,
    waiting: 'En attente de votre validation…',
    stay: 'Cette page avance seule dès que vous avez validé.',
  },
  success: {
    title: 'Vous êtes connecté',
    lead: (bank, accounts) =>
      accounts > 1 ? `${accounts} comptes de ${bank} ont été ajoutés.` : `${accounts} compte de ${bank} a été ajouté.`,
    leadFiles: (accounts) =>
      accounts > 1 ? `${accounts} comptes ont été lus dans vos fichiers.` : `${accounts} compte a été lu dans vos fichiers.`,
    failed: (names, later) => {
      const several = names.length > 1;
      const quoted = new Intl.ListFormat('fr').format(names.map((name) => `«\u00a0${name}\u00a0»`));
      const sentence = several ? `Les comptes ${quoted} n’ont pas pu être lus.` : `Le compte ${quoted} n’a pas pu être lu.`;
      const again = several ? 'Ils seront essayés de nouveau' : 'Il sera essayé de nouveau';
      return later ? `${sentence} ${again} à la prochaine synchronisation.` : sentence;
    },
    next: 'Les opérations plus anciennes suivront dans quelques minutes.',
  },
  failure: { title: (bank) => `${bank} n’a pas pu être connectée`, retry: 'Réessayer' },
  pending: {
    title: 'Toujours en cours',
    lead: (bank) => `${bank} a besoin de plus de temps que d’habitude.`,
    next: (application) => `Inutile d’attendre\u00a0: la connexion continue, et ${application} sera prévenue à la fin.`,
  },
  expired: {
    title: 'Cette session est terminée',
    lead: 'Pour votre sécurité, une page de connexion ne fonctionne que peu de temps, dans le navigateur où elle a été ouverte.',
    next: 'Revenez à l’application qui vous a envoyé ici et recommencez.',
  },
  notFound: {
    title: 'Cette page n’existe pas',
    lead: 'L’adresse est incomplète, ou le lien n’est plus valable.',
    next: 'Revenez à l’application qui vous a envoyé ici et recommencez.',
  },
  tooMany: {
    title: 'Trop de tentatives',
    lead: 'Votre banque a été sollicitée de nombreuses fois en quelques minutes. Insister pourrait bloquer votre accès.',
    next: 'Attendez dix minutes, puis revenez à la page précédente et réessayez.',
  },
  unavailable: {
    title: 'Un problème est survenu de notre côté',
    lead: 'Votre demande n’a pas pu être traitée. Rien n’a été perdu auprès de votre banque.',
    next: 'Patientez un instant, puis rechargez cette page.',
  },
};
