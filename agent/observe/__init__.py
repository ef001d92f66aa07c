"""What others see of the agent: logs, metrics, health, and its answers to `weft status`."""
