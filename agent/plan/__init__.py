"""What we want: the contract between the pure core (`translate`) and the hands (`reconcile`, `kernel`, `waypoint`).

`tables` declares the kernel's tables row by row; `plan` says what they should mean, without saying at which index.
"""
