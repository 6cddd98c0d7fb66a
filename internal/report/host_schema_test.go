package report_test

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// TestHostSchema holds evidence that has a value in every field against the
// schema, so that none can be forgotten there.
func TestHostSchema(t *testing.T) {
	var h evidence.Host
	fill(reflect.ValueOf(&h).Elem())
	d := &verdict.HostDiagnosis{Host: h, Outcome: verdict.Open, Verdict: verdict.Verdict{Certainty: verdict.Narrowed, Cause: verdict.None}}
	var b bytes.Buffer
	if err := report.HostJSON(&b, d); err != nil {
		t.Fatal(err)
	}
	if err := reporttest.ValidateHost(b.Bytes()); err != nil {
		t.Error(err)
	}
	back, err := report.NewHostReader(&b, "saved").Next()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, &h) {
		t.Errorf("read back it is another:\n%+v\n%+v", back, &h)
	}
}

// fill gives a value to every field that a value has, at every depth.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1767323045, 0).UTC()))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.7")))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort("192.0.2.7:5432")))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("192.0.2.7/24")))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("text")
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		panic(v.Type())
	}
}
