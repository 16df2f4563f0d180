// The Go SDK of Nacos with TLS on: publishes, reads, and hears of a change. Arguments: host, port, ca, certificate, key.
package main

import (
	"os"
	"strconv"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

func check(holds bool, what string, err error) {
	if err != nil || !holds {
		println(what)
		if err != nil {
			println(err.Error())
		}
		os.Exit(1)
	}
}

func main() {
	port, err := strconv.ParseUint(os.Args[2], 10, 64)
	check(err == nil, "port", err)
	tls := constant.TLSConfig{Appointed: true, Enable: true, CaFile: os.Args[3], CertFile: os.Args[4], KeyFile: os.Args[5], ServerNameOverride: os.Args[1]}
	directory, err := os.MkdirTemp("", "nacos")
	check(err == nil, "directory", err)
	defer os.RemoveAll(directory)
	config := constant.ClientConfig{TimeoutMs: 5000, NotLoadCacheAtStart: true, LogDir: directory, CacheDir: directory, LogLevel: "error", TLSCfg: tls}
	servers := []constant.ServerConfig{{IpAddr: os.Args[1], Port: port, Scheme: "https"}}
	client, err := clients.NewConfigClient(vo.NacosClientParam{ClientConfig: &config, ServerConfigs: servers})
	check(err == nil, "client", err)
	heard := make(chan bool, 8)
	key := vo.ConfigParam{DataId: "go", Group: "tls"}
	publish := func(content string) {
		with := key
		with.Content = content
		done, err := client.PublishConfig(with)
		check(done, "publish", err)
	}
	publish("old")
	content, err := client.GetConfig(key)
	check(content == "old", "get", err)
	listen := key
	listen.OnChange = func(_, _, _, content string) { heard <- content == "new" }
	check(true, "listen", client.ListenConfig(listen))
	time.Sleep(time.Second)
	publish("new")
	for {
		select {
		case isNew := <-heard:
			if isNew {
				return
			}
		case <-time.After(20 * time.Second):
			check(false, "no change was heard", nil)
		}
	}
}
