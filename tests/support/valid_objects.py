"""A valid object of every kind, without metadata, which tests change."""

from typing import Any

PARENT = {"group": "", "kind": "Service", "name": "web", "port": 80}
BACKEND = {"name": "web", "port": 80, "weight": 1}
BODIES: dict[str, dict[str, Any]] = {
    "Namespace": {},
    "Pod": {"spec": {"nodeName": "n", "hostNetwork": False}, "status": {"phase": "Running", "podIP": "10.0.0.9"}},
    "RuntimeClass": {"handler": "runc"},
    "Service": {"spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}},
    "EndpointSlice": {
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {"addresses": ["10.0.0.9"], "conditions": {"ready": True}, "hints": {"forZones": [{"name": "east"}]}}
        ],
    },
    "HTTPRoute": {
        "spec": {
            "parentRefs": [PARENT],
            "rules": [
                {
                    "matches": [{"path": {"type": "Exact", "value": "/a"}, "headers": [{"name": "a", "value": "b"}]}],
                    "filters": [
                        {"type": "URLRewrite", "urlRewrite": {"hostname": "a"}},
                        {
                            "type": "RequestMirror",
                            "requestMirror": {"backendRef": {"name": "web", "port": 80}, "percent": 5},
                        },
                        {"type": "CORS", "cors": {"allowOrigins": ["http://a"], "allowHeaders": ["a"], "maxAge": 1}},
                    ],
                    "timeouts": {"request": "1s"},
                    "retry": {"codes": [500], "attempts": 1, "backoff": "1s"},
                    "sessionPersistence": {"sessionName": "a", "absoluteTimeout": "1s", "type": "Cookie"},
                    "backendRefs": [BACKEND],
                }
            ],
        }
    },
    "GRPCRoute": {"spec": {"parentRefs": [PARENT], "rules": [{"backendRefs": [BACKEND]}]}},
    "TCPRoute": {"spec": {"parentRefs": [PARENT], "rules": [{"backendRefs": [BACKEND]}]}},
    "UDPRoute": {"spec": {"parentRefs": [PARENT], "rules": [{"backendRefs": [BACKEND]}]}},
    "TLSRoute": {"spec": {"parentRefs": [PARENT], "hostnames": ["a.b"], "rules": [{"backendRefs": [BACKEND]}]}},
    "Node": {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}},
    "ServiceCIDR": {"spec": {"cidrs": ["10.96.0.0/16"]}},
    "ServiceImport": {
        "spec": {"type": "ClusterSetIP", "ips": ["10.96.0.9"], "ports": [{"name": "http", "port": 80}]},
        "status": {"endpointSliceObjects": "Present"},
    },
    "MeshParameters": {
        "spec": {
            "trustDomain": "example.org",
            "authorization": {"default": "Deny", "exemptNamespaces": ["shop"]},
        }
    },
    "XMesh": {
        "spec": {
            "controllerName": "example.org/mesh",
            "parametersRef": {"group": "weft.dev", "kind": "MeshParameters", "name": "a"},
        }
    },
    "AuthorizationPolicy": {
        "spec": {
            "targetRefs": [
                {
                    "kind": "Pod",
                    "selector": {
                        "matchLabels": {"app": "web"},
                        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}],
                    },
                }
            ],
            "action": "ALLOW",
            "enforcementLevel": "Network",
            "rules": [
                {
                    "sources": [
                        {"type": "ServiceAccount", "serviceAccount": {"namespace": "app", "name": "a"}},
                        {"type": "SPIFFE", "spiffe": "spiffe://cluster.local/ns/app/sa/b"},
                    ],
                    "networkAttributes": {"ports": [80]},
                }
            ],
        }
    },
    "ReferenceGrant": {"spec": {"from": [{"group": "", "kind": "X", "namespace": "a"}], "to": []}},
}
