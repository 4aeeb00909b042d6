import java.util.List;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.ResourceAllocationException;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** What the limits of a destination mean on a broker with a store. */
final class Limits extends ConfiguredTest {
    private static final int BODY = 50_000;

    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.stored("").policies("""
                <policyEntry queue="Marked.>" storeUsageHighWaterMark="0" sendFailIfNoSpace="true"/>
                <policyEntry topic="Marked.>" storeUsageHighWaterMark="0" sendFailIfNoSpace="true"/>
                <policyEntry queue="Limited.>" memoryLimit="1mb" sendFailIfNoSpace="true"/>
                <policyEntry queue="Early.>" memoryLimit="1mb" cursorMemoryHighWaterMark="10"
                  sendFailIfNoSpace="true"/>
                <policyEntry queue="Never.>" memoryLimit="1mb" cursorMemoryHighWaterMark="200"
                  sendFailIfNoSpace="true"/>
                <policyEntry topic="Large.>" memoryLimit="100000" minimumMessageSize="30000"
                  sendFailIfNoSpace="true"/>
                <policyEntry queue="Dying.>" expireMessagesPeriod="100" maxExpirePageSize="2">
                  <deadLetterStrategy><individualDeadLetterStrategy queuePrefix="Dead."/></deadLetterStrategy>
                </policyEntry>
                """);
    }

    private ActiveMQQueue q(String kind) {
        return new ActiveMQQueue(kind + "." + name());
    }

    private static int sendUntilRefused(Session session, Destination to, int mode, int bytes, int most)
            throws Exception {
        MessageProducer producer = session.createProducer(to);
        producer.setDeliveryMode(mode);
        for (int n = 0; n < most; n++) {
            BytesMessage message = session.createBytesMessage();
            message.setIntProperty("n", n);
            message.writeBytes(new byte[bytes]);
            try {
                producer.send(message);
            } catch (ResourceAllocationException full) {
                return n;
            }
        }
        return most;
    }

    private static void takes(MessageConsumer consumer, int count) throws Exception {
        for (int n = 0; n < count; n++) {
            equal(n, take(consumer).getIntProperty("n"));
        }
    }

    @Test
    void what_is_persistent_is_held_where_the_mark_of_the_store_is_reached() throws Exception {
        Session session = auto(connect());
        ResourceAllocationException full = refused(ResourceAllocationException.class,
                () -> send(session, q("Marked"), "x"));
        contains("Persistent store is Full, 0% of 2147483648", full.getMessage());
        MessageProducer producer = session.createProducer(q("Marked"));
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("not persistent"));
        equal("not persistent", takeText(session.createConsumer(q("Marked"))));
        send(session, queue(), "elsewhere");
        equal(List.of("elsewhere"), drain(queue()));
    }

    @Test
    void a_topic_has_a_mark_of_the_store_only_for_what_it_stores() throws Exception {
        Session session = auto(connect());
        ActiveMQTopic topic = new ActiveMQTopic("Marked." + name());
        MessageConsumer consumer = session.createConsumer(topic);
        Class<?> refusal = null;
        try {
            send(session, topic, "x");
        } catch (ResourceAllocationException full) {
            refusal = full.getClass();
        }
        equal(null, refusal);
        equal("x", takeText(consumer));
    }

    /** More than fits in its memory waits in the store, and what is not persistent in the temporary one. */
    @Test
    void a_queue_takes_more_than_its_memory() throws Exception {
        for (String kind : List.of("Limited", "Early")) {
            for (int mode : new int[] {DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT}) {
                ActiveMQQueue queue = new ActiveMQQueue(kind + "." + mode + "." + name());
                // Each send is answered, or there would be no refusal.
                ActiveMQConnection connection = connect("jms.alwaysSyncSend=true");
                equal(60, sendUntilRefused(auto(connection), queue, mode, BODY, 60), queue + "");
                takes(auto(connect()).createConsumer(queue), 60);
            }
        }
    }

    /** ActiveMQ keeps them in memory, where they hold the producer; openwired has them in its store alone. */
    @Test
    void a_mark_above_all_memory_keeps_nobody_from_reading_what_is_there() throws Exception {
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        int sent = sendUntilRefused(session, q("Never"), DeliveryMode.PERSISTENT, BODY, 60);
        check(Broker.isActiveMq() ? sent >= 15 && sent <= 25 : sent == 60, sent + " were taken");
        takes(session.createConsumer(q("Never")), sent);
        send(session, q("Never"), "room again");
    }

    @Test
    void a_message_may_count_for_more_at_a_topic_too() throws Exception {
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        ActiveMQTopic topic = new ActiveMQTopic("Large." + name());
        MessageConsumer lagging = auto(connect()).createConsumer(option(topic, "consumer.prefetchSize=1"));
        send(session, topic, "held");
        eventually("the first is there", () -> ((ActiveMQMessageConsumer) lagging).getMessageSize() == 1);
        int sent = sendUntilRefused(session, topic, DeliveryMode.NON_PERSISTENT, 1, 60);
        check(sent == 3 || sent == 4, sent + " were taken");
        equal("held", takeText(lagging));
        takes(lagging, sent);
    }

    @Test
    void all_that_expires_is_found_by_and_by() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(q("Dying"));
        producer.setTimeToLive(50);
        for (String text : numbers(0, 10)) {
            producer.send(session.createTextMessage(text));
        }
        MessageConsumer dead = session.createConsumer(new ActiveMQQueue("Dead." + q("Dying").getPhysicalName()));
        equal(numbers(0, 10), takeTexts(dead, 10));
    }
}
