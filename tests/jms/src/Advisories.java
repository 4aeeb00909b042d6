import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TemporaryTopic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.advisory.AdvisorySupport;
import org.apache.activemq.advisory.ConsumerEventSource;
import org.apache.activemq.advisory.DestinationSource;
import org.apache.activemq.advisory.ProducerEventSource;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConnectionInfo;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.DataStructure;
import org.apache.activemq.command.DestinationInfo;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.RemoveInfo;

/** What the broker tells about itself on advisory topics. */
final class Advisories extends JmsTest {
    @Test
    void a_consumer_that_comes_and_goes_is_told_with_the_count() throws Exception {
        ActiveMQConnection watching = connect();
        MessageConsumer advisories = watch(watching, AdvisorySupport.getConsumerAdvisoryTopic(queue()));
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer)
                auto(connect()).createConsumer(queue(), "i = 1");
        ActiveMQMessage added = advisory(advisories);
        ConsumerInfo info = (ConsumerInfo) added.getDataStructure();
        equal(consumer.getConsumerId(), info.getConsumerId());
        equal(queue(), info.getDestination());
        equal("i = 1", info.getSelector());
        equal(1000, info.getPrefetchSize());
        equal(1, added.getIntProperty("consumerCount"));
        Session session = auto(connect());
        MessageConsumer second = session.createConsumer(queue());
        equal(2, advisory(advisories).getIntProperty("consumerCount"));
        consumer.close();
        ActiveMQMessage removed = advisory(advisories);
        RemoveInfo remove = (RemoveInfo) removed.getDataStructure();
        check(remove.isConsumerRemove(), "not of a consumer");
        equal(consumer.getConsumerId(), remove.getObjectId());
        equal(1, removed.getIntProperty("consumerCount"));
        second.close();
        equal(0, advisory(advisories).getIntProperty("consumerCount"));
    }

    @Test
    void consumers_that_are_there_already_are_told_to_a_new_watcher_only() throws Exception {
        ActiveMQMessageConsumer one = (ActiveMQMessageConsumer) auto(connect()).createConsumer(queue());
        ActiveMQMessageConsumer two = (ActiveMQMessageConsumer) auto(connect()).createConsumer(queue());
        MessageConsumer first = watch(connect(), AdvisorySupport.getConsumerAdvisoryTopic(queue()));
        equal(Set.of(one.getConsumerId(), two.getConsumerId()), Set.of(consumerId(first), consumerId(first)));
        MessageConsumer second = watch(connect(), AdvisorySupport.getConsumerAdvisoryTopic(queue()));
        equal(Set.of(one.getConsumerId(), two.getConsumerId()), Set.of(consumerId(second), consumerId(second)));
        nothing(first);
        nothing(second);
    }

    private static Object consumerId(MessageConsumer advisories) throws Exception {
        return ((ConsumerInfo) advisory(advisories).getDataStructure()).getConsumerId();
    }

    @Test
    void consumers_of_a_closed_and_of_a_lost_connection_are_told_as_gone() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        MessageConsumer advisories = watch(connect(), AdvisorySupport.getConsumerAdvisoryTopic(topic()));
        ActiveMQConnection closing = connect();
        auto(closing).createConsumer(topic());
        advisory(advisories);
        closing.close();
        check(advisory(advisories).getDataStructure() instanceof RemoveInfo, "no RemoveInfo after close");
        auto(connectTo(proxy.url())).createConsumer(topic());
        advisory(advisories);
        proxy.cut();
        check(advisory(advisories).getDataStructure() instanceof RemoveInfo, "no RemoveInfo after the loss");
    }

    @Test
    void a_producer_that_comes_and_goes_is_told_with_the_count() throws Exception {
        MessageConsumer advisories = watch(connect(), AdvisorySupport.getProducerAdvisoryTopic(queue()));
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue());
        ActiveMQMessage added = advisory(advisories);
        equal(queue(), ((ProducerInfo) added.getDataStructure()).getDestination());
        equal(1, added.getIntProperty("producerCount"));
        session.createProducer(queue());
        equal(2, advisory(advisories).getIntProperty("producerCount"));
        producer.close();
        ActiveMQMessage removed = advisory(advisories);
        check(((RemoveInfo) removed.getDataStructure()).isProducerRemove(), "not of a producer");
        equal(1, removed.getIntProperty("producerCount"));
    }

    @Test
    void producers_that_are_there_already_are_told_to_a_new_watcher() throws Exception {
        auto(connect()).createProducer(topic());
        MessageConsumer advisories = watch(connect(), AdvisorySupport.getProducerAdvisoryTopic(topic()));
        equal(topic(), ((ProducerInfo) advisory(advisories).getDataStructure()).getDestination());
    }

    @Test
    void a_connection_that_comes_and_goes_is_told() throws Exception {
        MessageConsumer advisories = watch(connect(), AdvisorySupport.getConnectionAdvisoryTopic());
        ActiveMQConnection connection = unstarted(with(url(""), "jms.userName=somebody&jms.password=secret"));
        connection.setClientID(name());
        connection.start();
        ConnectionInfo info = find(advisories, ConnectionInfo.class, each -> name().equals(each.getClientId()));
        equal(connection.getConnectionInfo().getConnectionId(), info.getConnectionId());
        equal("somebody", info.getUserName());
        equal("", info.getPassword());
        connection.close();
        find(advisories, RemoveInfo.class, each -> each.isConnectionRemove()
                && each.getObjectId().equals(info.getConnectionId()));
    }

    @Test
    void connections_that_are_there_already_are_told_to_a_new_watcher() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer advisories = watch(connect(), AdvisorySupport.getConnectionAdvisoryTopic());
        find(advisories, ConnectionInfo.class, each ->
                each.getConnectionId().equals(connection.getConnectionInfo().getConnectionId()));
    }

    @Test
    void a_new_and_a_removed_destination_are_told() throws Exception {
        for (ActiveMQDestination destination : new ActiveMQDestination[] {queue(), topic()}) {
            MessageConsumer advisories = watch(connect(), AdvisorySupport.getDestinationAdvisoryTopic(destination));
            ActiveMQConnection connection = connect();
            send(auto(connection), destination, "creates it");
            DestinationInfo added = find(advisories, DestinationInfo.class, each ->
                    each.getDestination().equals(destination));
            check(added.isAddOperation(), "not added");
            connection.destroyDestination(destination);
            DestinationInfo removed = find(advisories, DestinationInfo.class, each ->
                    each.getDestination().equals(destination));
            check(removed.isRemoveOperation(), "not removed");
        }
    }

    @Test
    void destinations_that_are_there_already_are_told_to_a_new_watcher() throws Exception {
        send(auto(connect()), queue(), "creates it");
        MessageConsumer advisories = watch(connect(), AdvisorySupport.getDestinationAdvisoryTopic(queue()));
        find(advisories, DestinationInfo.class, each -> each.getDestination().equals(queue()));
    }

    @Test
    void temporary_destinations_are_told() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer queues = watch(connect(), AdvisorySupport.TEMP_QUEUE_ADVISORY_TOPIC);
        MessageConsumer topics = watch(connect(), AdvisorySupport.TEMP_TOPIC_ADVISORY_TOPIC);
        TemporaryQueue queue = session.createTemporaryQueue();
        TemporaryTopic topic = session.createTemporaryTopic();
        check(find(queues, DestinationInfo.class, each -> each.getDestination().equals(queue)).isAddOperation(), "add");
        DestinationInfo added = find(topics, DestinationInfo.class, each -> each.getDestination().equals(topic));
        equal(connection.getConnectionInfo().getConnectionId(), added.getConnectionId());
        queue.delete();
        connection.close();
        check(find(queues, DestinationInfo.class, each ->
                each.getDestination().equals(queue)).isRemoveOperation(), "queue not removed");
        check(find(topics, DestinationInfo.class, each ->
                each.getDestination().equals(topic)).isRemoveOperation(), "topic not removed");
    }

    @Test
    void an_advisory_says_which_broker_it_is_from() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer advisories = watch(connection, AdvisorySupport.getConsumerAdvisoryTopic(queue()));
        auto(connection).createConsumer(queue());
        ActiveMQMessage advisory = advisory(advisories);
        equal("jms", advisory.getStringProperty("originBrokerName"));
        equal(connection.getBrokerInfo().getBrokerId().getValue(), advisory.getStringProperty("originBrokerId"));
        contains("tcp://", advisory.getStringProperty("originBrokerURL"));
        equal(javax.jms.DeliveryMode.NON_PERSISTENT, advisory.getJMSDeliveryMode());
        equal(0L, advisory.getJMSExpiration());
        equal("ActiveMQ.Advisory.Consumer.Queue." + queue().getPhysicalName(),
                ((ActiveMQDestination) advisory.getJMSDestination()).getPhysicalName());
    }

    @Test
    void a_wildcard_watches_all_advisories_of_a_kind() throws Exception {
        MessageConsumer advisories = watch(connect(), new ActiveMQTopic("ActiveMQ.Advisory.Consumer.Queue."
                + name() + ".>"));
        Session session = auto(connect());
        session.createConsumer(queue("A"));
        session.createConsumer(queue("B.c"));
        equal(queue("A"), ((ConsumerInfo) advisory(advisories).getDataStructure()).getDestination());
        equal(queue("B.c"), ((ConsumerInfo) advisory(advisories).getDataStructure()).getDestination());
    }

    @Test
    void advisories_cause_no_advisories() throws Exception {
        MessageConsumer advisories = watch(connect(), new ActiveMQTopic("ActiveMQ.Advisory.Consumer.Topic."
                + "ActiveMQ.Advisory.>"));
        watch(connect(), AdvisorySupport.getConsumerAdvisoryTopic(queue()));
        nothing(advisories);
    }

    @Test
    void the_clients_source_of_destinations_follows_the_broker() throws Exception {
        ActiveMQConnection connection = connect();
        DestinationSource source = connection.getDestinationSource();
        Session session = auto(connect());
        send(session, queue("new"), "x");
        send(session, topic("new"), "x");
        TemporaryQueue temporary = session.createTemporaryQueue();
        eventually("the queue is known", () -> source.getQueues().contains(queue("new")));
        eventually("the topic is known", () -> source.getTopics().contains(topic("new")));
        eventually("the temporary queue is known", () -> source.getTemporaryQueues().contains(temporary));
        connection.destroyDestination(queue("new"));
        eventually("the queue is forgotten", () -> !source.getQueues().contains(queue("new")));
        temporary.delete();
        eventually("the temporary queue is forgotten", () -> !source.getTemporaryQueues().contains(temporary));
    }

    @Test
    void the_clients_event_sources_count_consumers_and_producers() throws Exception {
        ActiveMQConnection connection = connect();
        BlockingQueue<Integer> counts = new LinkedBlockingQueue<>();
        ConsumerEventSource consumers = new ConsumerEventSource(connection, queue());
        consumers.setConsumerListener(event -> counts.add(event.getConsumerCount()));
        consumers.start();
        ProducerEventSource producers = new ProducerEventSource(connection, queue());
        BlockingQueue<Integer> producerCounts = new LinkedBlockingQueue<>();
        producers.setProducerListener(event -> producerCounts.add(event.getProducerCount()));
        producers.start();
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue());
        equal(1, counts.poll(SOON, TimeUnit.MILLISECONDS));
        consumer.close();
        equal(0, counts.poll(SOON, TimeUnit.MILLISECONDS));
        session.createProducer(queue());
        equal(1, producerCounts.poll(SOON, TimeUnit.MILLISECONDS));
        consumers.stop();
        producers.stop();
    }

    @Test
    void a_dead_letter_is_told() throws Exception {
        MessageConsumer advisories = watch(connect(), new ActiveMQTopic(
                "ActiveMQ.Advisory.MessageDLQd.Queue." + queue().getPhysicalName()));
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
        Session session = transacted(connection);
        Message message = session.createTextMessage("dead");
        session.createProducer(queue()).send(message);
        session.commit();
        take(session.createConsumer(queue()));
        session.rollback();
        ActiveMQMessage advisory = advisory(advisories);
        equal(message.getJMSMessageID(), ((ActiveMQMessage) advisory.getDataStructure()).getJMSMessageID());
    }

    private static MessageConsumer watch(ActiveMQConnection connection, ActiveMQTopic topic) throws Exception {
        return auto(connection).createConsumer(topic);
    }

    private static ActiveMQMessage advisory(MessageConsumer advisories) throws Exception {
        ActiveMQMessage advisory = (ActiveMQMessage) take(advisories);
        equal("Advisory", advisory.getJMSType());
        return advisory;
    }

    private interface Choice<T> {
        boolean holds(T value);
    }

    /** Passes over advisories about others, for the whole broker is shared. */
    private static <T extends DataStructure> T find(MessageConsumer advisories, Class<T> type, Choice<T> choice)
            throws Exception {
        while (true) {
            DataStructure told = advisory(advisories).getDataStructure();
            if (type.isInstance(told) && choice.holds(type.cast(told))) {
                return type.cast(told);
            }
        }
    }

    @Test
    void who_comes_later_is_told_that_the_broker_is_the_master() throws Exception {
        for (int n = 0; n < 2; n++) {
            MessageConsumer watcher = auto(connect()).createConsumer(new ActiveMQTopic("ActiveMQ.Advisory.MasterBroker"));
            Message told = take(watcher);
            equal("Advisory", told.getJMSType());
            equal("jms", told.getStringProperty("originBrokerName"));
            nothing(watcher);
        }
    }
}
