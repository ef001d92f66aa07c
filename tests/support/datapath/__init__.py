"""weft's programs in the kernel, with pods and backends around them, and no agent."""
