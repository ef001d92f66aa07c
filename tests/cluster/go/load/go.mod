// Traffic of every kind that a waypoint carries, and the server of it: from the standard library alone.
module weft.dev/tests/cluster/load

go 1.26.0
