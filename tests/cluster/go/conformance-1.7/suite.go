// Package suite names the suite, so that go.mod keeps it; what is built is the suite's own test package.
package suite

import _ "sigs.k8s.io/gateway-api/conformance"
