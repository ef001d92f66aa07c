"""What exists: frozen, typed values for Kubernetes objects, in the shape and with the defaults of their schemas.

Every kind is a `msgspec.Struct` that decodes straight from the object's JSON. Types say what the schema says (bounds,
lengths, required fields); what a value *means* is for `translate` to judge. Open string enums (match types, filter
types, kinds) stay strings, because an unknown value must become a condition on the Route, not a decoding error.
"""
