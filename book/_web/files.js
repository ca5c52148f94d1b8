// Files that come as scripts: a page opened from a disk may load scripts, but may not fetch anything else. Each script
// puts a text, base64 of gzip, into globalThis.sigcamFiles under its name.

const pending = new Map();

function loadScript(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(script.remove());
    script.onerror = () => reject(new Error(`${address} could not be loaded.`));
    document.head.append(script);
  });
}

async function decode(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The bytes of a file in the folder `base`; each is loaded once. */
export function loadFile(base, name) {
  const address = `${base}${name}.js`;
  if (!pending.has(address)) {
    const loaded = loadScript(address).then(() => {
      const text = globalThis.sigcamFiles[name];
      delete globalThis.sigcamFiles[name];
      return decode(text);
    });
    loaded.catch(() => pending.delete(address)); // so that another try is possible
    pending.set(address, loaded);
  }
  return pending.get(address);
}

/** A script of the folder, run once. */
export function loadProgram(base, name) {
  const address = `${base}${name}.js`;
  if (!pending.has(address)) {
    const loaded = loadScript(address);
    loaded.catch(() => pending.delete(address));
    pending.set(address, loaded);
  }
  return pending.get(address);
}

/** The folder of the script that is running. */
export const folderOf = (script) => script.src.replace(/[^/]*$/, "");
