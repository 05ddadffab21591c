// Command controller is a small controller as most are written, on controller-runtime: caches and informers, leader
// election, finalizers, server-side apply, owner references, status patches, events. The cluster tier runs it against
// Fluvial's API server, which must not notice a difference to its own clients, nor show one to this.
package main

import (
	"flag"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	namespace := flag.String("lease-namespace", "default", "namespace of the leader's lease")
	metrics := flag.String("metrics", "0", "address of the metrics; 0 for none")
	file := flag.String("cluster", "", "kubeconfig file")
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	if err := run(*file, *namespace, *metrics); err != nil {
		ctrl.Log.Error(err, "ended")
		os.Exit(1)
	}
}

func run(file, namespace, metrics string) error {
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return err
	}
	// The server's own fairness is what holds many clients apart; a small rate here would only hide its speed.
	config.QPS, config.Burst = 500, 1000
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, addWidgets} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	// Longer than the server is away when it is started again.
	lease, renew, retry := 15*time.Second, 12*time.Second, 500*time.Millisecond
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       server.Options{BindAddress: metrics},
		LeaderElection:                true,
		LeaderElectionID:              "widgets.peers.fluvial.dev",
		LeaderElectionNamespace:       namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
	})
	if err != nil {
		return err
	}
	widgets := &reconciler{Client: manager.GetClient(), recorder: manager.GetEventRecorder("widgets")}
	if err := widgets.setUp(manager); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
