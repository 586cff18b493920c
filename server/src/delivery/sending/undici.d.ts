/** The package describes its files only together. */
declare module 'undici/lib/dispatcher/client.js' {
  export { Client as default } from 'undici';
}
