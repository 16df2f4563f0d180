import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.config.ConfigService;
import com.alibaba.nacos.api.config.listener.AbstractListener;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** The Java SDK of Nacos with TLS on by system properties: publishes, reads, and hears of a change. Argument: host:port. */
public class NacosTls {
    public static void main(String[] arguments) throws Exception {
        ConfigService client = NacosFactory.createConfigService(arguments[0]);
        CountDownLatch heard = new CountDownLatch(1);
        check(client.publishConfig("java", "tls", "old"), "publish");
        check("old".equals(client.getConfig("java", "tls", 5000)), "get");
        client.addListener("java", "tls", new AbstractListener() {
            @Override
            public void receiveConfigInfo(String content) {
                if ("new".equals(content)) {
                    heard.countDown();
                }
            }
        });
        check(client.publishConfig("java", "tls", "new"), "publish again");
        check(heard.await(20, TimeUnit.SECONDS), "no change was heard");
        client.shutDown();
        System.exit(0);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            System.err.println(what);
            System.exit(1);
        }
    }
}
