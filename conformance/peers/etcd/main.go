// Command etcd is the released etcd server, pinned by this module: the store of the kube-apiserver that ours is compared with.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
