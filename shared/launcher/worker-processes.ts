import { type NodeProcesses, spawnNode, stopMsMax } from './node-process.js';
import { SupervisedProcess } from './supervised-process.js';

/** Runs WORKERS workers, each started again for ever. */
export function startWorkers(processes: NodeProcesses, entry: string): { stop(): Promise<void> } {
  const { config, groups, say } = processes;
  const workers = Array.from({ length: config.WORKERS }, (_, index) => {
    const name = `worker ${index + 1}`;
    // Several workers cannot share one fixed port: they count up from it.
    const extra = config.OPS_PORT === 0 ? {} : { OPS_PORT: String(config.OPS_PORT + index) };
    return new SupervisedProcess({
      name,
      groups,
      say,
      spawn: () => spawnNode(processes, entry, extra),
      onStart: (child) => say(name, `pid ${child.pid}`),
    });
  });
  for (const worker of workers) worker.start();
  return {
    async stop() {
      await Promise.all(workers.map((worker) => worker.stop(stopMsMax(config))));
      say('stopped', 'workers');
    },
  };
}
