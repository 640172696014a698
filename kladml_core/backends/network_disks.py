"""Whether a path lies on a network file system, where the locks of SQLite do not hold."""

from __future__ import annotations

import re
from pathlib import Path


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The kind of file system that a path lies on, or None on a system without a list of mounts.

    Args:
        mounts: a list as /proc/self/mounts has it.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    here = path.resolve()
    best: tuple[int, str] = (-1, "")
    for line in lines:
        words = line.split()
        # Spaces in a mount point are written as \040 and the like.
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[1]))
        if here == point or point in here.parents:
            best = max(best, (len(point.parts), words[2]), key=lambda found: found[0])
    return best[1] or None


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The kind of network file system that a path lies on, or None: a local disk, or a system without a list of mounts.

    Args:
        mounts: a list as /proc/self/mounts has it.
    """
    kind = file_system(path, mounts)
    if kind is None:
        return None
    remote = kind in _NETWORK or kind.startswith(("nfs", "fuse.sshfs", "fuse.s3", "fuse.rclone", "fuse.gluster"))
    return kind if remote else None


_NETWORK = frozenset({"cifs", "smb3", "smbfs", "lustre", "beegfs", "gpfs", "ceph", "9p", "afs", "glusterfs", "pvfs2"})
