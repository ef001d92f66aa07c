"""What exists: frozen, typed values for Kubernetes objects, in the shape and with the defaults of their schemas.

Every kind is a `msgspec.Struct` that decodes directly from the object's JSON. Types have the constraints of the schema
(bounds, lengths, required fields); `translate` checks what values mean. Open string enums (match types, filter types,
kinds) stay strings, because an unknown value must become a condition on the Route, not a decoding error.
"""
