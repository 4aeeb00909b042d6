import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Words that say how ActiveMQ keeps what waits: whatever they are, all of it comes, and in order. */
final class Cursors extends ConfiguredTest {
    private static final int MESSAGES = 300;
    private static final List<String> QUEUES = List.of("Vm", "File", "Store", "NoCache", "Paged", "Lazy", "Lean");
    private static final List<String> TOPICS = List.of("Vm", "File", "Lean");
    private static final List<String> DURABLES = List.of("DurableVm", "DurableFile", "DurableStore");

    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.stored("").policies("""
                <policyEntry queue="Vm.>"><pendingQueuePolicy><vmQueueCursor/></pendingQueuePolicy></policyEntry>
                <policyEntry queue="File.>"><pendingQueuePolicy><fileQueueCursor/></pendingQueuePolicy></policyEntry>
                <policyEntry queue="Store.>"><pendingQueuePolicy><storeCursor/></pendingQueuePolicy></policyEntry>
                <policyEntry queue="NoCache.>" useCache="false" enableAudit="false"/>
                <policyEntry queue="Paged.>" maxPageSize="7" maxBrowsePageSize="7" maxAuditDepth="100"
                  maxProducersToAudit="2" maxQueueAuditDepth="100" sendDuplicateFromStoreToDLQ="true"/>
                <policyEntry queue="Lazy.>" lazyDispatch="true" optimizedDispatch="true"/>
                <policyEntry queue="Lean.>" reduceMemoryFootprint="true" doOptimzeMessageStorage="false"
                  optimizeMessageStoreInFlightLimit="3"/>
                <policyEntry topic="Vm.>"><pendingSubscriberPolicy><vmCursor/></pendingSubscriberPolicy></policyEntry>
                <policyEntry topic="File.>"><pendingSubscriberPolicy><fileCursor/></pendingSubscriberPolicy>
                </policyEntry>
                <policyEntry topic="Lean.>" reduceMemoryFootprint="true" useTopicSubscriptionInflightStats="false"/>
                <policyEntry topic="DurableVm.>"><pendingDurableSubscriberPolicy><vmDurableCursor/>
                </pendingDurableSubscriberPolicy></policyEntry>
                <policyEntry topic="DurableFile.>"><pendingDurableSubscriberPolicy><fileDurableSubscriberCursor/>
                </pendingDurableSubscriberPolicy></policyEntry>
                <policyEntry topic="DurableStore.>"><pendingDurableSubscriberPolicy>
                  <storeDurableSubscriberCursor immediatePriorityDispatch="false" useCache="false"/>
                </pendingDurableSubscriberPolicy></policyEntry>
                """);
    }

    private void publish(ActiveMQDestination to, int mode) throws Exception {
        Session session = transacted(connect());
        MessageProducer producer = session.createProducer(to);
        producer.setDeliveryMode(mode);
        for (String text : numbers(0, MESSAGES)) {
            producer.send(session.createTextMessage(text));
        }
        session.commit();
    }

    @Test
    void a_queue_gives_all_in_order_whatever_its_cursor() throws Exception {
        for (String kind : QUEUES) {
            for (int mode : new int[] {DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT}) {
                ActiveMQQueue queue = new ActiveMQQueue(kind + "." + mode + "." + name());
                publish(queue, mode);
                MessageConsumer consumer = auto(connect()).createConsumer(option(queue, "consumer.prefetchSize=50"));
                equal(numbers(0, MESSAGES), takeTexts(consumer, MESSAGES), queue + "");
                consumer.close();
            }
        }
    }

    @Test
    void a_topic_gives_all_in_order_whatever_its_cursor() throws Exception {
        for (String kind : TOPICS) {
            ActiveMQTopic topic = new ActiveMQTopic(kind + "." + name());
            MessageConsumer consumer = auto(connect()).createConsumer(option(topic, "consumer.prefetchSize=50"));
            publish(topic, DeliveryMode.NON_PERSISTENT);
            equal(numbers(0, MESSAGES), takeTexts(consumer, MESSAGES), topic + "");
            consumer.close();
        }
    }

    @Test
    void a_durable_subscriber_gets_all_in_order_whatever_its_cursor() throws Exception {
        for (String kind : DURABLES) {
            ActiveMQTopic topic = new ActiveMQTopic(kind + "." + name());
            for (boolean back : new boolean[] {false, true}) {
                ActiveMQConnection connection = unstarted(url(""));
                connection.setClientID(kind + "." + name());
                connection.start();
                MessageConsumer consumer = auto(connection).createDurableSubscriber(topic, "s");
                if (back) {
                    equal(numbers(0, MESSAGES), takeTexts(consumer, MESSAGES), topic + "");
                }
                connection.close();
                if (!back) {
                    publish(topic, DeliveryMode.PERSISTENT);
                }
            }
        }
    }
}
