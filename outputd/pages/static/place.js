/** Where this service is: at the root of its host, or below a path where a proxy puts it. */

/** The address of one of its paths. */
export const here = (path) => new URL(`..${path}`, import.meta.url).href;
