/** Writes one readable line about a component. */
export type Say = (component: string, text: string) => void;

const componentWidth = 'worker 1'.length;

// Whoever read our output may be gone (`npm start | head`); that must not end the service.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);

export const say: Say = (component, text) => {
  process.stdout.write(line(component, text));
};

/** Why everything ends: on stderr. */
export function sayError(text: string): void {
  process.stderr.write(line('error', text));
}

function line(component: string, text: string): string {
  return `${component.padEnd(componentWidth)} ${text}\n`;
}
