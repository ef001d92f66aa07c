"""`python -m agent.kernel.netns --socket PATH`: the network namespace helper, until the process ends."""

import argparse
import logging
import sys
from pathlib import Path

from agent.kernel.kubepods import KubepodsError, find_kubepods
from agent.kernel.netns import server
from agent.kernel.parent import die_with_parent


def main() -> int:
    """The entry point; an error is one sentence on standard error."""
    parser = argparse.ArgumentParser(description="open network namespaces of pods for weft's agent")
    parser.add_argument("--socket", type=Path, required=True, help="the Unix socket for the agent's requests")
    parser.add_argument("--kubepods", type=Path, help="the kubelet's cgroup for pods; default: found")
    parser.add_argument("--node-network", type=Path, help="give the agent netlink sockets in this network namespace")
    parser.add_argument("--child", action="store_true", help="end together with the parent process")
    options = parser.parse_args()
    logging.basicConfig(format="level=%(levelname)s logger=%(name)s msg=%(message)r")
    try:
        if options.child:
            die_with_parent()
        server.run(options.kubepods or find_kubepods(), options.socket, node_network=options.node_network)
    except (KubepodsError, OSError) as error:
        sys.stderr.write(f"weft: the network namespace helper cannot run: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
