/**
 * A disk that a test can fill: a file system in memory, seen by one program and its children alone. It needs no rights, only
 * a Linux that gives its users namespaces of their own; it goes with the last of those processes.
 */
import { spawnSync } from 'node:child_process';

type Owner = { uid: number; gid: number };

/** Mounts as root of a namespace of its own, and goes on as the user that it was: PostgreSQL refuses to run as root. */
const SCRIPT =
  'mount -t tmpfs -o "size=$0,mode=0700" tmpfs "$1" && uid=$2 && gid=$3 && shift 3 && exec unshare --user --map-user="$uid" --map-group="$gid" "$@"';

/** The command that runs what follows it with a disk of `bytes` at `folder`, which must be there and the user's own. */
export function withSmallDisk(folder: string, bytes: number, { uid, gid }: Owner): [program: string, ...args: string[]] {
  return ['unshare', '--user', '--map-root-user', '--mount', '/bin/sh', '-c', SCRIPT, String(bytes), folder, String(uid), String(gid)];
}

/** Null where it can be had, else why not. */
export function whyNoSmallDisk(folder: string, owner: Owner): string | null {
  const [program, ...args] = withSmallDisk(folder, 65_536, owner);
  const { error, status, stderr } = spawnSync(program, [...args, 'true'], { encoding: 'utf8', ...owner });
  if (error) return error.message;
  return status === 0 ? null : stderr.trim();
}
