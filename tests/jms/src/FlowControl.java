import java.nio.file.Files;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.ResourceAllocationException;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Destinations with a memory limit of their own: who waits, who is refused, who goes on. */
final class FlowControl extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry queue="Waits.>" memoryLimit="1"/>
                <policyEntry queue="Refuses.>" memoryLimit="1" sendFailIfNoSpace="true"/>
                <policyEntry queue="GivesUp.>" memoryLimit="1" sendFailIfNoSpaceAfterTimeout="500"/>
                <policyEntry queue="Takes.>" memoryLimit="1" producerFlowControl="false"/>
                <policyEntry topic="Waits.>" memoryLimit="1"/>
                <policyEntry topic="Refuses.>" memoryLimit="1" sendFailIfNoSpace="true"/>
                <policyEntry topic="Takes.>" memoryLimit="1" producerFlowControl="false"/>
                <policyEntry queue="Quiet.>" memoryLimit="1" blockedProducerWarningInterval="0"/>
                <policyEntry queue="Large.>" memoryLimit="100000" minimumMessageSize="30000" sendFailIfNoSpace="true"/>
                <policyEntry queue="Small.>" memoryLimit="100000" sendFailIfNoSpace="true"/>
                """);
    }

    private ActiveMQQueue q(String kind) {
        return new ActiveMQQueue(kind + "." + name());
    }

    /** Sends one message, with which the queue is full. */
    private void fill(ActiveMQQueue queue) throws Exception {
        send(auto(connect()), queue, "filler");
    }

    private ActiveMQTopic t(String kind) {
        return new ActiveMQTopic(kind + "." + name());
    }

    /** A consumer that holds one message, while another one waits for it: with that the topic is full. */
    private MessageConsumer lagging(ActiveMQTopic topic) throws Exception {
        MessageConsumer consumer = auto(connect()).createConsumer(option(topic, "consumer.prefetchSize=1"));
        send(auto(connect()), topic, "0");
        eventually("the first is there", () -> ((ActiveMQMessageConsumer) consumer).getMessageSize() == 1);
        send(auto(connect()), topic, "1");
        return consumer;
    }

    private static CompletableFuture<Void> later(Action action) {
        return CompletableFuture.runAsync(() -> {
            try {
                action.run();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
    }

    private static void waits(CompletableFuture<Void> future) throws Exception {
        TimeUnit.MILLISECONDS.sleep(MOMENT);
        check(!future.isDone(), "it did not wait");
    }

    @Test
    void a_producer_waits_until_there_is_room() throws Exception {
        fill(q("Waits"));
        Session session = auto(connect());
        CompletableFuture<Void> sending = later(() -> send(session, q("Waits"), "waited"));
        waits(sending);
        MessageConsumer consumer = auto(connect()).createConsumer(q("Waits"));
        equal(List.of("filler", "waited"), takeTexts(consumer, 2));
        sending.get(SOON, TimeUnit.MILLISECONDS);
    }

    @Test
    void a_producer_may_be_refused_at_once() throws Exception {
        fill(q("Refuses"));
        refused(ResourceAllocationException.class, () -> send(auto(connect()), q("Refuses"), "refused"));
        equal(List.of("filler"), drain(q("Refuses")));
        send(auto(connect()), q("Refuses"), "room again");
        equal(List.of("room again"), drain(q("Refuses")));
    }

    @Test
    void a_producer_may_be_refused_after_a_time() throws Exception {
        fill(q("GivesUp"));
        long start = System.nanoTime();
        refused(ResourceAllocationException.class, () -> send(auto(connect()), q("GivesUp"), "refused"));
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        check(millis >= 400, "refused after " + millis + " ms");
        equal(List.of("filler"), drain(q("GivesUp")));
    }

    @Test
    void without_flow_control_a_producer_goes_on() throws Exception {
        send(auto(connect()), q("Takes"), "0", "1", "2");
        equal(numbers(0, 3), drain(q("Takes")));
    }

    @Test
    void a_topics_producer_waits_while_a_consumer_lags() throws Exception {
        MessageConsumer consumer = lagging(t("Waits"));
        CompletableFuture<Void> sending = later(() -> send(auto(connect()), t("Waits"), "2"));
        waits(sending);
        equal(numbers(0, 3), takeTexts(consumer, 3));
        sending.get(SOON, TimeUnit.MILLISECONDS);
    }

    @Test
    void what_waits_for_many_consumers_of_a_topic_counts_until_the_last_has_it() throws Exception {
        MessageConsumer consumer = lagging(t("Waits"));
        MessageConsumer fast = auto(connect()).createConsumer(t("Waits"));
        CompletableFuture<Void> sending = later(() -> send(auto(connect()), t("Waits"), "2"));
        waits(sending);
        nothing(fast);
        consumer.close();
        sending.get(SOON, TimeUnit.MILLISECONDS);
        equal("2", takeText(fast));
    }

    @Test
    void a_topics_producer_may_be_refused() throws Exception {
        MessageConsumer consumer = lagging(t("Refuses"));
        refused(ResourceAllocationException.class, () -> send(auto(connect()), t("Refuses"), "refused"));
        equal(numbers(0, 2), takeTexts(consumer, 2));
        send(auto(connect()), t("Refuses"), "2");
        equal("2", takeText(consumer));
    }

    @Test
    void without_flow_control_a_topics_producer_goes_on() throws Exception {
        MessageConsumer consumer = lagging(t("Takes"));
        send(auto(connect()), t("Takes"), "2", "3");
        equal(numbers(0, 4), takeTexts(consumer, 4));
    }

    @Test
    void a_commit_waits_for_what_is_sent_in_it() throws Exception {
        fill(q("Waits"));
        ActiveMQConnection connection = connect("jms.producerWindowSize=1000000");
        Session session = transacted(connection);
        MessageProducer producer = session.createProducer(q("Waits"));
        producer.send(session.createTextMessage("one"));
        CompletableFuture<Void> committing = later(session::commit);
        MessageConsumer consumer = auto(connect()).createConsumer(q("Waits"));
        equal("filler", takeText(consumer));
        committing.get(SOON, TimeUnit.MILLISECONDS);
        // ActiveMQ commits without what waits, and then drops it.
        equal(Broker.isActiveMq() ? List.of() : List.of("one"), takeAll(consumer));
    }

    @Test
    void a_rollback_drops_what_waits() throws Exception {
        fill(q("Waits"));
        ActiveMQConnection connection = connect("jms.producerWindowSize=1000000");
        Session session = transacted(connection);
        session.createProducer(q("Waits")).send(session.createTextMessage("one"));
        session.rollback();
        equal(List.of("filler"), drain(q("Waits")));
    }

    @Test
    void what_a_producer_has_sent_is_there_though_it_closes() throws Exception {
        fill(q("Waits"));
        ActiveMQConnection connection = connect("jms.producerWindowSize=1000000&jms.useAsyncSend=true");
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(q("Waits"));
        producer.send(session.createTextMessage("one"));
        producer.close();
        MessageConsumer consumer = auto(connect()).createConsumer(q("Waits"));
        equal(List.of("filler", "one"), takeTexts(consumer, 2));
    }

    @Test
    void a_transaction_of_which_a_message_was_refused_cannot_commit() throws Exception {
        fill(q("Refuses"));
        Session session = transacted(connect());
        send(session, queue(), "other");
        MessageProducer producer = session.createProducer(q("Refuses"));
        producer.setDeliveryMode(DeliveryMode.PERSISTENT);
        producer.send(session.createTextMessage("refused"));
        try {
            session.commit();
            check(false, "it was committed");
        } catch (JMSException expected) {
            contains("rollback only", expected.getMessage());
        }
        equal(List.of(), drain(queue()));
        send(session, queue(), "next");
        session.commit();
        equal(List.of("next"), drain(queue()));
    }

    /** Sends until the queue has no room for more. */
    private int sendUntilRefused(ActiveMQQueue queue, int most) throws Exception {
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (int n = 0; n < most; n++) {
            try {
                producer.send(session.createTextMessage("" + n));
            } catch (ResourceAllocationException full) {
                return n;
            }
        }
        return most;
    }

    @Test
    void a_message_may_count_for_more_than_it_takes() throws Exception {
        equal(4, sendUntilRefused(q("Large"), 60));
        equal(numbers(0, 4), drain(q("Large")));
        equal(60, sendUntilRefused(q("Small"), 60));
        equal(numbers(0, 60), drain(q("Small")));
    }

    private boolean isNamed(ActiveMQQueue queue) throws Exception {
        return Files.readAllLines(broker().log()).stream().anyMatch(
                line -> line.contains("Usage Manager Memory Limit") && line.contains(queue.toString()));
    }

    @Test
    void a_held_producer_is_named_in_the_log_unless_nobody_wants_to_know() throws Exception {
        for (String kind : List.of("Quiet", "Waits")) {
            Session session = auto(connect("jms.useAsyncSend=true"));
            MessageProducer producer = session.createProducer(q(kind));
            producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
            producer.send(session.createTextMessage("filler"));
            producer.send(session.createTextMessage("held"));
        }
        eventually("it is named", () -> isNamed(q("Waits")));
        check(!isNamed(q("Quiet")), "it is named too");
        for (String kind : List.of("Quiet", "Waits")) {
            equal(List.of("filler", "held"), takeTexts(auto(connect()).createConsumer(q(kind)), 2));
        }
    }
}
