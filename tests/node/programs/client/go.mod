module weft.dev/tests/client

go 1.24
