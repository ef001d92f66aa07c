"""The intermediate representation: the contract between the pure core (`translate`) and what acts on it.

`plan` has what translation makes of each object; `tables` declares the kernel's tables row by row, without saying at
which index a row is; `http` has the routes of a port; `resources` has the types of xDS resource. No Envoy JSON.
"""
