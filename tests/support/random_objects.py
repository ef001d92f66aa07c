"""Objects for property tests, with few names, so that objects refer to each other."""

from hypothesis import strategies as st

from agent.model import filters, routes
from agent.model.meta import ObjectMeta
from agent.store.mode import MODE_LABEL
from agent.translate.options import Options

SPACES = st.sampled_from(["app", "shop"])


NAMES = st.sampled_from(["a", "b"])


PORTS = st.sampled_from([80, 81])


LABELS = st.sampled_from([{}, *({MODE_LABEL: value} for value in ("none", "l4", "l7", "L7", ""))])


OPTIONS = Options("here")


@st.composite
def metas(draw: st.DrawFn) -> ObjectMeta:
    when = draw(st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]))
    return ObjectMeta(draw(NAMES), draw(SPACES), "", 1, when, draw(LABELS))


@st.composite
def parents(draw: st.DrawFn) -> tuple[routes.ParentReference, ...]:
    refs = st.builds(
        routes.ParentReference,
        name=NAMES,
        group=st.just(""),
        kind=st.just("Service"),
        namespace=st.sampled_from([None, "app"]),
        port=st.sampled_from([None, 80, 81]),
    )
    return tuple(draw(st.lists(refs, min_size=1, max_size=2)))


@st.composite
def any_routes(draw: st.DrawFn) -> routes.Route:
    meta, refs = draw(metas()), draw(parents())
    backend = routes.FilteredBackendRef(draw(NAMES), port=draw(PORTS), weight=draw(st.sampled_from([0, 1, 9])))
    kind = draw(st.sampled_from(["HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"]))
    if kind == "HTTPRoute":
        mirror = filters.RequestMirror(filters.BackendObjectReference(draw(NAMES), port=draw(PORTS)))
        known = filters.Filter("RequestMirror", request_mirror=mirror)
        unknown = filters.Filter("ExtensionRef", extension_ref={})
        session = draw(st.sampled_from([None, routes.SessionPersistence()]))
        backends = (backend, routes.FilteredBackendRef(draw(NAMES), port=draw(PORTS)))
        items = draw(st.sampled_from([(), (known,), (unknown,)]))
        rule = routes.HTTPRouteRule(backend_refs=backends, filters=items, session_persistence=session)
        return routes.HTTPRoute(meta, routes.HTTPRouteSpec(refs, (), (rule, routes.HTTPRouteRule())))
    if kind == "GRPCRoute":
        return routes.GRPCRoute(meta, routes.GRPCRouteSpec(refs, (), (routes.GRPCRouteRule(backend_refs=(backend,)),)))
    rules = (routes.L4RouteRule((backend,)),)
    if kind == "TCPRoute":
        return routes.TCPRoute(meta, routes.L4RouteSpec(refs, rules))
    names = tuple(draw(st.lists(st.sampled_from(["a.b", "*.b", "b"]), max_size=2)))
    return routes.TLSRoute(meta, routes.TLSRouteSpec(refs, names, rules))
